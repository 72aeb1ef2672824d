"""How a stage is run: one that trains finds gold and the expert store closed, one of oversight does not."""

import sys
from pathlib import Path
from types import ModuleType

import pytest

from sandwiching.configs.schema import CapitalsTask, ResourcesConfig
from sandwiching.oversight.expert_store import make_or_open, open_store
from sandwiching.tasks.capitals_gold import make_gold
from sandwiching.tasks.sealed import Sealed
from sandwiching.training.artifacts import MANIFEST, StageFolder
from sandwiching.training.stage import StageCall, execute


def call(folder: Path, module: str, experts: Path, monkeypatch: pytest.MonkeyPatch) -> StageCall:
    """A stage of that module that opens the store at `experts` and gold."""

    def look(parents, folder, resources) -> dict[str, float]:
        open_store(experts)
        make_gold(CapitalsTask(name="capitals"))
        return {"looked": 1.0}

    made = ModuleType(module)
    made.look = look  # pyright: ignore[reportAttributeAccessIssue]
    monkeypatch.setitem(sys.modules, module, made)
    folder.mkdir()
    (folder / "attempt").write_text("1")
    return StageCall("stage", 1, "key", f"{module}:look", {}, {}, {}, {}, StageFolder(folder, 1))


def test_a_training_stage_that_looks_gets_an_error_and_makes_no_artifact(tmp_path, monkeypatch) -> None:
    experts = make_or_open(tmp_path / "experts", None, "salt").folder
    greedy = call(tmp_path / "ppo-a", "sandwiching.training.greedy", experts, monkeypatch)
    with pytest.raises(Sealed, match=r"sandwiching\.training\.greedy:look tried to open the expert store"):
        execute(greedy, ResourcesConfig())
    assert not (tmp_path / "ppo-a" / MANIFEST).exists()
    check = call(tmp_path / "check-a", "sandwiching.oversight.checker", experts, monkeypatch)
    assert execute(check, ResourcesConfig()) == {"looked": 1.0}
