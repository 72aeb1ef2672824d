import pytest

from sandwiching.configs.schema import CapitalsTask, DataConfig, JudgementsTask
from sandwiching.oversight.known_answers import with_answers, with_references
from sandwiching.tasks.pair_rows import PairRow
from sandwiching.tasks.records import Pair
from sandwiching.tasks.registry import make_task

TASK = CapitalsTask(name="capitals")


def rows() -> list[PairRow]:
    """Pairs about the capital of Australia: right and wrong, wrong and right, both wrong, both right."""
    task = make_task(TASK, DataConfig(), 0)
    found = [prompt for split in ("train", "dev", "final") for prompt in task.prompts(split)]
    prompt = next(prompt for prompt in found if prompt.id == "capital/AU")
    texts = [("Canberra", "Sydney"), ("Sydney", "It is Canberra."), ("Perth", "Sydney"), ("Canberra", "canberra")]
    return [PairRow(Pair(str(i), prompt, a, b)) for i, (a, b) in enumerate(texts)]


def test_references_are_all_right_answers_with_their_origin() -> None:
    found = with_references(TASK, rows())
    assert {row.references for row in found} == {("The capital of Australia is Canberra.",)}
    assert all("GeoNames" in str(row.source) for row in found)
    assert with_references(JudgementsTask(name="judgements"), rows()) == rows()


def test_answers_are_known_where_gold_tells_the_two_apart() -> None:
    assert [(row.pair.id, row.answer) for row in with_answers(TASK, rows())] == [("0", "a"), ("1", "b")]
    with pytest.raises(ValueError, match="of no pair exactly one response is right"):
        with_answers(TASK, rows()[2:])
    with pytest.raises(ValueError, match="no computable truth"):
        with_answers(JudgementsTask(name="judgements"), rows())
