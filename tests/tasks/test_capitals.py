from collections import Counter
from statistics import fmean

import pytest

from sandwiching.configs.schema import CapitalsTask, DataConfig, SplitsConfig
from sandwiching.tasks.capitals import Capitals
from sandwiching.tasks.capitals_gold import make_gold
from sandwiching.tasks.records import SPLITS

TASK, DATA = CapitalsTask(name="capitals"), DataConfig()
CAPITALS = Capitals(TASK, DATA, seed=0)


def test_splits_share_no_country() -> None:
    groups = [{prompt.group for prompt in CAPITALS.prompts(split)} for split in SPLITS]
    assert sum(map(len, groups)) == len(set.union(*groups)) > 150
    counts = [len(CAPITALS.prompts(split)) for split in SPLITS]
    assert 500 < sum(counts) < 700
    assert counts[2] / sum(counts) == pytest.approx(0.35, abs=0.03)


def test_max_prompts_keeps_a_subset_of_each_split() -> None:
    few = Capitals(CapitalsTask(name="capitals", max_prompts=20), DATA, seed=0)
    for split in SPLITS:
        assert len(few.prompts(split)) == 20
        assert set(few.prompts(split)) < set(CAPITALS.prompts(split))


def test_listed_countries() -> None:
    data = DataConfig(splits=SplitsConfig(dev_groups=["France"], final_groups=["Ghana", "Turkey"]))
    task = Capitals(TASK, data, seed=0)
    assert {prompt.group for prompt in task.prompts("final")} == {"Ghana", "Turkey"}
    assert {prompt.kind for prompt in task.prompts("dev")} == set(TASK.kinds)


def test_demonstrations_are_what_weak_people_write() -> None:
    found = CAPITALS.demonstrations()
    assert [one.prompt for one in found] == CAPITALS.prompts("train")
    gold = make_gold(TASK)
    right = fmean(gold.correct(one.prompt, one.response) for one in found)
    assert TASK.competence < right < 0.65
    assert found == Capitals(TASK, DATA, seed=0).demonstrations()
    assert found != Capitals(TASK, DATA, seed=1).demonstrations()
    double = Capitals(CapitalsTask(name="capitals", demonstrators=2), DATA, seed=0).demonstrations()
    assert len(double) == 2 * len(found)
    assert Counter(one.prompt.id for one in double).most_common(1)[0][1] == 2


def test_panels_are_different_people_of_different_ability() -> None:
    training, check = CAPITALS.weak_raters("training"), CAPITALS.weak_raters("check")
    assert (len(training), len(check)) == (TASK.raters, TASK.check_raters)
    ids = [person.id for person in [*training, *check]]
    assert len(set(ids)) == len(ids)
    assert {person.tier for person in training} == {"weak"}
    assert fmean(person.ability for person in training) == pytest.approx(0, abs=1e-9)
    known = [fmean(person.knows(fact) for fact in CAPITALS.facts.values()) for person in training]
    assert fmean(known) == pytest.approx(TASK.competence, abs=0.03)


def test_bad_config() -> None:
    with pytest.raises(ValueError, match=r"task\.kinds"):
        Capitals(CapitalsTask(name="capitals", kinds=["rivers"]), DATA, 0)
    with pytest.raises(ValueError, match="no facts"):
        Capitals(CapitalsTask(name="capitals", min_population=10**10), DATA, 0)
