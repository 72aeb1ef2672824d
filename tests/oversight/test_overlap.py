"""Near-duplicates between what is trained on and what is held out."""

import random
import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sandwiching.configs.schema import CapitalsTask, DataConfig
from sandwiching.oversight.overlap import normalised, overlaps, refuse_overlap, shingles, similarity
from sandwiching.tasks.capitals import Capitals
from sandwiching.tasks.records import Prompt


def prompts(*texts: str, group: str = "g") -> list[Prompt]:
    return [Prompt(f"{group}{number}", text, f"{group}{number}", "") for number, text in enumerate(texts)]


def test_case_marks_and_spaces_make_no_difference() -> None:
    assert normalised("  What's  the CAPITAL\nof Mali? ") == "what s the capital of mali"
    assert normalised(({"role": "user", "content": "Hi!"},)) == "hi"
    assert normalised("?!") == "?!"
    found = overlaps(prompts("What is the capital of Mali?"), prompts("what is the capital of MALI"), 1.0)
    assert [one.similarity for one in found] == [1.0]


ARTICLE = "The committee met on Tuesday to discuss the budget for the new library and its opening hours in winter"


def test_a_changed_word_is_near_and_another_text_is_not() -> None:
    near = ARTICLE.replace("Tuesday", "Wednesday")
    far = "A quite different question about the weather on the coast, and which boats may leave the harbour today"
    found = overlaps(prompts(ARTICLE, "Something else entirely"), prompts(near, far), 0.6)
    assert [(one.held_out.text, one.trained.text) for one in found] == [(near, ARTICLE)]
    assert 0.6 <= found[0].similarity < 1
    assert overlaps(prompts(ARTICLE), prompts(near), 1.0) == []


def test_a_form_that_all_prompts_share_counts_little() -> None:
    names = ["".join(random.Random(number).choices(string.ascii_lowercase, k=8)) for number in range(60)]
    texts = [f"What is the name of the capital city of the country {name}?" for name in names]
    assert overlaps(prompts(*texts[:40]), prompts(*texts[40:]), 0.8) == []


def test_capitals_are_no_near_duplicates() -> None:
    task = Capitals(CapitalsTask(name="capitals"), DataConfig(), 0)
    held_out = [*task.prompts("dev"), *task.prompts("final")]
    refuse_overlap(task.prompts("train"), held_out, 0.8)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.text(alphabet="ab ", min_size=1, max_size=24), min_size=1, max_size=6),
    st.lists(st.text(alphabet="ab ", min_size=1, max_size=24), min_size=1, max_size=6),
    st.sampled_from([0.3, 0.5, 0.8]),
)
def test_the_index_finds_what_comparing_all_pairs_finds(trained: list[str], held_out: list[str], bound: float) -> None:
    from collections import Counter
    from math import log1p

    left, right = [[normalised(text) for text in side] for side in (held_out, trained)]
    every = set(left) | set(right)
    count = Counter(one for text in every for one in shingles(text))
    weights = {one: log1p(len(every) / number) for one, number in count.items()}
    best = [
        max(1.0 if one == other else similarity(shingles(one), shingles(other), weights) for other in right)
        for one in left
    ]
    found = {
        one.held_out.id: one.similarity for one in overlaps(prompts(*trained), prompts(*held_out, group="h"), bound)
    }
    expected = {f"h{at}": value for at, value in enumerate(best) if value >= bound}
    assert found.keys() == expected.keys()
    assert all(found[name] == pytest.approx(expected[name]) for name in found)


def test_overlap_is_refused_in_one_message() -> None:
    trained, held_out = prompts(ARTICLE, "b", group="t"), prompts(ARTICLE.upper(), "c d e", group="h")
    with pytest.raises(
        ValueError, match=r"1 of 2 held-out prompts .*1 word for word.*group h0.*group t0.*check\.overlap"
    ):
        refuse_overlap(trained, held_out, 0.8)
    with pytest.raises(ValueError, match="1 of 2 held-out prompts"):
        refuse_overlap(trained, held_out, None)
    refuse_overlap(trained, held_out[1:], 0.8)
