"""Prompts are consumed evenly, and exactly once an epoch."""

from hypothesis import given
from hypothesis import strategies as st

from sandwiching.training.prompts import PromptQueue


def queue(count: int, seed: int) -> PromptQueue:
    return PromptQueue([f"p{i}" for i in range(count)], [[i] for i in range(count)], seed)


@given(st.integers(1, 7), st.integers(0, 3), st.lists(st.integers(1, 5), min_size=1, max_size=8))
def test_every_epoch_has_every_prompt_once_however_it_is_taken(count: int, seed: int, takes: list[int]) -> None:
    prompts = queue(count, seed)
    taken = []
    for take in takes:
        taken += prompts.at(0, take, 1).prompt_ids
        prompts.consume(take)
    assert taken == list(queue(count, seed).at(0, sum(takes), 1).prompt_ids)
    for start in range(0, len(taken) - count + 1, count):
        assert len(set(taken[start : start + count])) == count


def test_samples_of_a_prompt_stand_together() -> None:
    batch = queue(5, 0).at(0, 2, 3)
    assert batch.sample_index == (0, 1, 2, 0, 1, 2)
    assert len(set(batch.prompt_ids[:3])) == 1
    assert batch.tokens[0] == (int(batch.prompt_ids[0][1:]),)


def test_going_on_behind_the_frontier() -> None:
    first, second = queue(5, 1), queue(5, 1)
    ahead = first.at(3, 4, 1)
    first.consume(3)
    second.load_state_dict(first.state_dict())
    assert first.at(0, 4, 1) == second.at(0, 4, 1) == ahead
