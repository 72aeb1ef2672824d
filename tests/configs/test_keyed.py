"""What enters a key: everything, but for settings that say otherwise."""

import dataclasses
from dataclasses import dataclass, field

from sandwiching.configs.keyed import HOW, UNLESS_DEFAULT, key_settings
from sandwiching.configs.load import load
from sandwiching.configs.schema import JudgementsConfig, PeopleKind


@dataclass
class Inner:
    what: int = 1
    where: str = field(default="here", metadata=HOW)


@dataclass
class Block:
    inner: Inner = field(default_factory=Inner)
    by_name: dict[str, Inner] = field(default_factory=dict)
    later: list[int] = field(default_factory=list, metadata=UNLESS_DEFAULT)
    rows: list[int] = field(default_factory=list)


def test_settings_leave_the_key_as_they_say() -> None:
    assert key_settings(Block()) == {"inner": {"what": 1}, "by_name": {}, "rows": []}
    changed = Block(by_name={"a": Inner(2, "there")}, later=[1])
    assert key_settings(changed) == {"inner": {"what": 1}, "by_name": {"a": {"what": 2}}, "later": [1], "rows": []}


def test_a_block_without_such_settings_is_its_plain_values() -> None:
    sampling = load("tiny").pairs
    assert key_settings(sampling) == dataclasses.asdict(sampling)


def test_new_settings_at_their_defaults_enter_no_key() -> None:
    assert key_settings(JudgementsConfig()) == {"raters_per_pair": 3}
    task = load("tiny").task
    assert "population" not in key_settings(task)
    task.population = {"longer": PeopleKind(share=0.3, rule="longer")}
    assert key_settings(task)["population"]["longer"]["rule"] == "longer"
