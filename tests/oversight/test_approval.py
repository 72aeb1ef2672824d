"""Who judges, on which side, and what counts as approval."""

from dataclasses import dataclass

import pytest

from sandwiching.oversight.approval import approvals, assigned, preference
from sandwiching.oversight.rater_line import rater_answers
from sandwiching.tasks.records import Judgement, Pair, Preference, Prompt, Tier

PROMPTS = [Prompt(f"p{i}", "Capital of Mali?", "mali", "capital") for i in range(400)]


@dataclass
class Taste:
    """Prefers the response that stands later in `order`; equal or unknown ones are ties; `side` overrides all."""

    id: str
    order: tuple[str, ...] = ()
    side: Preference | None = None
    tier: Tier = "weak"

    def judge(self, pair: Pair, assistance: str | None = None) -> Judgement:
        a, b = (self.order.index(text) if text in self.order else -1 for text in (pair.response_a, pair.response_b))
        verdict: Preference = self.side or ("tie" if a == b else "a" if a > b else "b")
        return Judgement(pair.prompt.text, pair.response_a, pair.response_b, verdict, self.id, self.tier)


def test_preference_does_not_depend_on_the_side_of_the_answer():
    rater = Taste("r", ("Segou", "Bamako"))
    assert {preference(rater, prompt, "Bamako", "Segou", "x", "s") for prompt in PROMPTS} == {1.0}
    assert {preference(rater, prompt, "Segou", "Bamako", "x", "s") for prompt in PROMPTS} == {0.0}
    assert {preference(rater, prompt, "Kayes", "Gao", "x", "s") for prompt in PROMPTS} == {0.5}


def test_a_rater_who_always_takes_one_side_approves_half_of_everything():
    rater = Taste("r", side="a")
    mean = sum(preference(rater, prompt, "x", "y", "n", "s") for prompt in PROMPTS) / len(PROMPTS)
    assert 0.42 < mean < 0.58


def test_side_is_the_same_for_every_response_to_a_prompt():
    rater = Taste("r", side="a")
    for prompt in PROMPTS[:20]:
        assert len({preference(rater, prompt, answer, "anchor", answer, "s") for answer in "uvwxyz"}) == 1


def test_equal_texts_are_a_tie_unasked():
    assert preference(Taste("r", side="a"), PROMPTS[0], "same", "same", "n", "s") == 0.5


def test_approvals_keep_samples_and_raters_apart():
    raters = [Taste("likes_b", ("anchor", "b")), Taste("likes_c", ("anchor", "c"))]
    assert approvals(PROMPTS[0], ["b", "c", "d"], "anchor", raters) == [[1, 0], [0, 1], [0, 0]]


def test_assigned_raters_are_fixed_by_prompt_and_spread_over_the_panel():
    panel = [Taste(f"r{i}") for i in range(10)]
    first = assigned(PROMPTS[0], panel, 3)
    assert first == assigned(PROMPTS[0], panel[::-1], 3)
    used = [rater.id for prompt in PROMPTS for rater in assigned(prompt, panel, 3)]
    assert min(used.count(rater.id) for rater in panel) > 0.6 * len(used) / 10
    with pytest.raises(ValueError, match="raters_per_response is 11"):
        assigned(PROMPTS[0], panel, 11)


def test_rater_line_counts_choices_and_pairs():
    knows, fooled, clueless = Taste("k", ("c", "b", "right")), Taste("f", ("c", "right", "b")), Taste("u")
    answers = rater_answers(PROMPTS[0], ("right", "b", "c"), [knows, fooled, clueless])
    assert answers.raters == ["k", "f", "u"]
    assert answers.forced == [1.0, 0.0, pytest.approx(1 / 3)]
    assert answers.pairs == [1.0, 0.5, 0.5]


def test_blind_raters_reach_chance_in_both_scales():
    candidates = ("right", "b", "c", "d")
    answers = [rater_answers(prompt, candidates, [Taste(f"r{i}", side="a")]) for i, prompt in enumerate(PROMPTS)]
    assert sum(one.pairs[0] for one in answers) / len(answers) == pytest.approx(0.5, abs=0.08)
    assert sum(one.forced[0] for one in answers) / len(answers) == pytest.approx(0.25, abs=0.07)
