import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandwiching.tasks.records import Prompt
from sandwiching.tasks.splits import keep, split_groups

GROUPS = [f"group {number}" for number in range(40)]


def test_shares_and_order_free() -> None:
    place = split_groups(GROUPS, dev=0.15, final=0.35, salt="s")
    counts = [list(place.values()).count(split) for split in ("train", "dev", "final")]
    assert counts == [20, 6, 14]
    assert split_groups(GROUPS[::-1], dev=0.15, final=0.35, salt="s") == place
    assert split_groups(GROUPS, dev=0.15, final=0.35, salt="t") != place


@given(st.sets(st.text(min_size=1), min_size=10, max_size=60), st.floats(0.1, 0.4), st.floats(0.1, 0.4))
def test_every_group_has_one_split(groups: set[str], dev: float, final: float) -> None:
    place = split_groups(groups, dev=dev, final=final, salt="s")
    assert set(place) == groups
    assert set(place.values()) == {"train", "dev", "final"}


def test_lists() -> None:
    place = split_groups(GROUPS, dev=0.15, final=0.35, salt="s", dev_groups=["group 1"], final_groups=["group 2"])
    assert [group for group in GROUPS if place[group] == "dev"] == ["group 1"]
    assert [group for group in GROUPS if place[group] == "final"] == ["group 2"]
    half = split_groups(GROUPS, dev=0.15, final=0.35, salt="s", final_groups=["group 2"])
    assert list(half.values()).count("dev") == 6


@pytest.mark.parametrize(
    ("groups", "options", "message"),
    [
        (GROUPS[:2], {}, "no group in"),
        (GROUPS[:3], {"dev": 0.1}, "no group in dev"),
        (GROUPS, {"dev": 0.0}, "leave a share"),
        (GROUPS, {"dev": 0.7}, "leave a share"),
        (GROUPS, {"dev_groups": ["atlantis"]}, "no group 'atlantis'"),
        (GROUPS, {"dev_groups": [GROUPS[0]], "final_groups": [GROUPS[0]]}, "listed for dev and for final"),
        (GROUPS, {"dev_groups": []}, "no group in dev"),
        (GROUPS[:3], {"dev_groups": [GROUPS[0]], "final_groups": GROUPS[1:3]}, "no group in train"),
    ],
)
def test_bad_splits(groups: list[str], options: dict[str, object], message: str) -> None:
    arguments = {"dev": 0.15, "final": 0.35, "salt": "s", **options}
    with pytest.raises(ValueError, match=message):
        split_groups(groups, **arguments)  # pyright: ignore[reportArgumentType]


def test_keep_is_a_stable_choice() -> None:
    prompts = [Prompt(str(number), "text", "group", "kind") for number in range(20)]
    kept = keep(prompts, 5, "s")
    assert len(kept) == 5
    assert kept == sorted(kept, key=prompts.index)
    assert set(kept) < set(keep(prompts, 6, "s"))
    assert keep(prompts, None, "s") == keep(prompts, 30, "s") == prompts
