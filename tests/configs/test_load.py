"""YAML and overrides -> Config and back, and what a user reads when a setting is wrong."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandwiching.configs.layers import merged, shipped_configs
from sandwiching.configs.load import ConfigError, arm_config, load, to_yaml
from sandwiching.configs.schema import CapitalsTask, Config, JudgementsTask

NEEDS_FILE = ("arguments", "llm_answers", "tldr_pythia_1b")


def load_shipped(name: str) -> Config:
    return load(name, ["data.judgements=judgements.jsonl"] if name in NEEDS_FILE else [])


def write(folder: Path, name: str, text: str) -> Path:
    file = folder / name
    file.write_text(text)
    return file


BASE = """
name: base
model: {path: tiny, lora: {rank: 4}}
task: {name: capitals, competence: 0.3}
arms:
  weak: {tier: weak}
  ceiling: {tier: expert}
"""


@pytest.mark.parametrize("name", sorted(shipped_configs()))
def test_shipped_configs_load_and_survive_a_round_trip(name: str, tmp_path: Path) -> None:
    config = load_shipped(name)
    again = load(write(tmp_path, "again.yaml", to_yaml(config)))
    assert again == config
    assert type(again.task) is type(config.task)
    for arm in config.arms:
        assert arm_config(again, arm) == arm_config(config, arm)


@pytest.mark.parametrize("name", sorted(shipped_configs()))
def test_shipped_configs_say_what_they_promise(name: str) -> None:
    header = [line for line in shipped_configs()[name].read_text().splitlines() if line.startswith("#")]
    for promise in ("# hardware:", "# wall time:", "# expect:"):
        assert any(line.startswith(promise) for line in header), f"{name}.yaml lacks `{promise}`"


def test_task_name_chooses_the_dataclass() -> None:
    assert isinstance(load("capitals").task, CapitalsTask)
    assert isinstance(load_shipped("arguments").task, JudgementsTask)


def test_bare_names_and_files_give_the_same() -> None:
    file = shipped_configs()["capitals"]
    assert load("capitals") == load("capitals.yaml") == load(file)


def test_scientific_notation_is_a_number() -> None:
    assert load("capitals", ["ppo.optimizer.learning_rate=1e-5"]).ppo.optimizer.learning_rate == 1e-5  # pyright: ignore


def test_extends_merges_dicts_replaces_lists_and_removes_arms(tmp_path: Path) -> None:
    write(tmp_path, "base.yaml", BASE + "seeds: [0, 1]\n")
    child = write(
        tmp_path,
        "child.yaml",
        "extends: base.yaml\nname: child\nseeds: [5]\ntask: {lapse: 0.1}\nsft: null\n"
        "arms: {ceiling: null, new: {tier: weak}}\n",
    )
    config = load(child)
    assert config.seeds == [5]
    assert (config.task.competence, config.task.lapse) == (0.3, 0.1)
    assert config.sft is None
    assert list(config.arms) == ["weak", "new"]


def test_extends_is_relative_to_the_file_and_may_name_a_shipped_config(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    write(tmp_path, "base.yaml", BASE)
    assert load(write(tmp_path / "deep", "a.yaml", "extends: ../base.yaml\nname: a\n")).name == "a"
    assert load(write(tmp_path, "b.yaml", "extends: capitals\nname: b\n")).model == load("capitals").model


def test_overrides_win_over_the_file() -> None:
    config = load("capitals", ["ppo.steps=3", "seeds=[4,5]", "arms.ceiling=null", "arms.weak.ppo.epochs=7"])
    assert config.ppo is not None
    assert (config.ppo.steps, config.seeds, list(config.arms)) == (3, [4, 5], ["weak"])
    assert config.arms["weak"].overrides == {"ppo": {"epochs": 7}}


def test_an_arm_differs_only_where_it_says_so() -> None:
    config = load("capitals", ["arms.weak.ppo.kl.coefficient=0.5", "arms.weak.reward_model.combine=wco"])
    weak, ceiling = arm_config(config, "weak"), arm_config(config, "ceiling")
    assert weak.ppo is not None
    assert ceiling.ppo is not None
    assert (weak.ppo.kl.coefficient, weak.reward_model.combine) == (0.5, "wco")
    assert ceiling.reward_model == config.reward_model
    weak.ppo.kl.coefficient, weak.reward_model.combine = ceiling.ppo.kl.coefficient, "mean"
    assert weak == ceiling == config
    assert arm_config(load("tiny", ["arms.weak.sft=null"]), "weak").sft is None


def test_changing_an_arms_copy_leaves_the_run_alone() -> None:
    config = load("capitals")
    arm = arm_config(config, "weak")
    arm.seeds.append(9)
    arm.model.max_length = 7
    assert config.seeds == [0]
    assert config.model.max_length != 7


WRONG = [
    (["ppo.bach_size=64"], ["ppo.bach_size", "did you mean ppo.batch_size?"]),
    (["ppo.learning_rate=1e-4"], ["ppo.learning_rate", "did you mean ppo.optimizer.learning_rate?"]),
    (["coefficient=1"], ["did you mean ppo.kl.coefficient?"]),
    (["sfft.epochs=1"], ["sfft", "did you mean sft?"]),
    (["task.competense=0.1"], ["did you mean task.competence?"]),
    (["arms.weak.ppo.stepz=1"], ["arms.weak.ppo.stepz", "did you mean arms.weak.ppo.steps?"]),
    (["arms.weak.teir=weak"], ["did you mean arms.weak.tier?"]),
    (["arms.weak.overrides={}"], ["arms.weak.overrides"]),
    (["arms.weak.resources.gpus=1"], ["arms.weak.resources", "belongs to the whole run"]),
    (["arms.weak.task.kinds=[capital]"], ["arms.weak.task.kinds", "shared by all arms"]),
    (["arms.weak.model.lora.rank=2"], ["arms.weak.model", "belongs to the whole run"]),
    (["arms.weak.ppo.steps=abc"], ["arms.weak", "ppo.steps", "'abc'", "a whole number"]),
    (["arms.weak=3"], ["arms.weak", "block"]),
    (["arms.new=null"], ["arms.new", "tier"]),
    (["arms.weak.tier=strong"], ["arms.weak.tier", "'strong'", "weak, expert"]),
    (["ppo.steps=abc"], ["command line: ppo.steps", "'abc'", "a whole number"]),
    (["ppo.steps=1.5"], ["ppo.steps", "1.5", "a whole number"]),
    (["ppo.steps=[1"], ["ppo.steps", "not YAML"]),
    (["ppo.steps={a: 1}"], ["ppo.steps", "a whole number"]),
    (["ppo=5"], ["ppo", "block of settings", "batch_size"]),
    (["ppo.kl=[1]"], ["ppo.kl", "coefficient"]),
    (["seeds=0"], ["seeds", "a list, each a whole number"]),
    (["seeds=[a]"], ["seeds", "a whole number"]),
    (["tracking.to=wandb"], ["tracking.to", "a list, each text"]),
    (["data=null"], ["data", "is empty"]),
    (["model.path=null"], ["model.path", "is empty"]),
    (["task.name=capital"], ["task.name", "capitals, judgements"]),
    (["model.path=${oc.env:HOME}"], ["model.path", "write the value itself"]),
    (["ppo.steps"], ["'ppo.steps'", "key=value"]),
    (["--ppo.steps=3"], ["key=value"]),
    (["name=a/b"], ["name", "file name"]),
]


@pytest.mark.parametrize(("overrides", "said"), WRONG, ids=[overrides[0] for overrides, _ in WRONG])
def test_wrong_settings_are_named_with_a_remedy(overrides: list[str], said: list[str]) -> None:
    with pytest.raises(ConfigError) as error:
        load("capitals", overrides)
    message = str(error.value)
    assert len(message.splitlines()) == 1
    for part in said:
        assert part in message


def test_the_file_is_named(tmp_path: Path) -> None:
    base = write(tmp_path, "base.yaml", BASE + "ppo: {stepz: 3}\n")
    child = write(tmp_path, "child.yaml", "extends: base.yaml\nname: child\n")
    with pytest.raises(ConfigError, match=rf"^{base}: ppo\.stepz"):
        load(child)
    write(tmp_path, "base.yaml", BASE + "ppo: {steps: x}\n")
    with pytest.raises(ConfigError, match=rf"^{base}: ppo\.steps: 'x'"):
        load(child)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name: [1", "not YAML"),
        ("name: a\nname: b\n", "duplicate key"),
        ("- 1\n- 2\n", "a list"),
        ("extends: missing.yaml\n", "missing.yaml"),
        ("extends: [a, b]\n", "one path"),
        ("extends: me.yaml\n", "extends itself"),
        (BASE.replace("path: tiny, ", ""), "model.path: is missing"),
        ("", "task.name: is missing"),
        (BASE.replace("weak: {tier: weak}", "weak:"), "arms.weak: is empty"),
    ],
)
def test_broken_files(text: str, said: str, tmp_path: Path) -> None:
    file = write(tmp_path, "me.yaml", text)
    with pytest.raises(ConfigError) as error:
        load(file)
    assert said in str(error.value)
    assert "me.yaml" in str(error.value)


def test_missing_files_list_what_is_shipped(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no such file.*capitals"):
        load(tmp_path / "nothing.yaml")
    with pytest.raises(ConfigError, match="is a folder"):
        load(tmp_path)


TREE = st.recursive(
    st.integers() | st.none() | st.lists(st.integers(), max_size=2),
    lambda inner: st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=8,
)


def leaves(settings: dict, prefix: tuple = ()) -> dict[tuple, object]:
    found = {}
    for key, value in settings.items():
        found.update(leaves(value, (*prefix, key)) if isinstance(value, dict) else {(*prefix, key): value})
    return found


@given(*[st.dictionaries(st.sampled_from("abc"), TREE, max_size=3)] * 2)
def test_a_layer_wins_wherever_it_says_something(below: dict, above: dict) -> None:
    result = leaves(merged(below, above))
    assert leaves(above).items() <= result.items()
    assert all(leaves(below).get(path, object) == value for path, value in result.items() if path not in leaves(above))
    assert merged(below, below) == below


def test_configs_never_import_torch() -> None:
    code = (
        "import sys; from sandwiching.configs.load import load; load('capitals');"
        "print([name for name in ('torch', 'transformers', 'ray', 'numpy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
