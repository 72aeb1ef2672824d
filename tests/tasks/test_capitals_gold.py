from statistics import fmean

import pytest

from sandwiching.configs.schema import CapitalsTask, DataConfig, JudgementsTask
from sandwiching.tasks.capitals import Capitals
from sandwiching.tasks.capitals_gold import expert_raters, make_gold
from sandwiching.tasks.records import Pair

TASK, DATA = CapitalsTask(name="capitals", lapse=0.0), DataConfig()
PROMPTS = Capitals(TASK, DATA, seed=0).prompts("final")


def test_the_first_candidate_alone_is_right() -> None:
    gold = make_gold(TASK)
    for prompt in PROMPTS:
        candidates = gold.candidates(prompt)
        assert [gold.correct(prompt, candidate) for candidate in candidates] == [True, False, False, False]


def test_experts_are_always_right_and_weak_raters_are_not() -> None:
    gold = make_gold(TASK)
    experts = expert_raters(TASK, DATA, "check")
    weak = Capitals(TASK, DATA, seed=0).weak_raters("check")
    pairs = [Pair(prompt.id, prompt, *gold.candidates(prompt)[:2]) for prompt in PROMPTS]
    assert {expert.judge(pair).preference for expert in experts[:3] for pair in pairs} == {"a"}
    right = fmean(person.judge(pair).preference == "a" for person in weak for pair in pairs)
    assert 0.25 < right < 0.6


def test_panels_of_experts() -> None:
    training, check = (expert_raters(TASK, DATA, panel) for panel in ("training", "check"))
    assert (len(training), len(check)) == (TASK.raters, TASK.check_raters)
    assert not {one.id for one in training} & {one.id for one in check}
    assert {one.tier for one in training} == {"expert"}


def test_a_task_without_truth() -> None:
    task = JudgementsTask(name="judgements")
    with pytest.raises(ValueError, match="no computable truth"):
        make_gold(task)
    with pytest.raises(ValueError, match="cannot be simulated"):
        expert_raters(task, DATA, "training")
