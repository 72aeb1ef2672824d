"""Rollouts one step ahead: which weights and prompts they have, and that they overlap with what runs meanwhile."""

import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor

from sandwiching.policy.engine import Sampling
from sandwiching.policy.records import PromptBatch, Rollouts
from sandwiching.training.prompts import PromptQueue
from sandwiching.training.roles import Scores
from sandwiching.training.rollout_queue import Made, RolloutQueue
from sandwiching.training.spans import Spans

SAMPLING = Sampling(1.0, 2)


class Gated:
    """An engine that waits for `gate` before it answers; its responses hold nothing."""

    elsewhere = True

    def __init__(self) -> None:
        self.version = 0
        self.gate = threading.Event()
        self.calls: list[tuple[int, int, tuple[str, ...]]] = []

    def load(self, folder, version: int) -> None:
        raise AssertionError("not asked for")

    def load_weights(self, weights: Mapping[str, Tensor], version: int) -> None:
        self.version = version

    def generate(self, prompts: PromptBatch, sampling: Sampling, seed: int, step: int) -> Rollouts:
        assert self.gate.wait(20)
        self.calls.append((step, self.version, prompts.prompt_ids))
        if step == 13:
            raise ValueError("step 13")
        mask_BT = torch.ones(len(prompts), 2, dtype=torch.bool)
        tokens_BS = torch.zeros(len(prompts), 3, dtype=torch.int64)
        everywhere = torch.ones_like(tokens_BS, dtype=torch.bool)
        ids = prompts.prompt_ids, prompts.sample_index
        return Rollouts(
            *ids, tokens_BS, everywhere, mask_BT, torch.ones(len(prompts)).bool(), torch.zeros(mask_BT.shape)
        )

    def logprobs(self, prompts: Sequence, responses: Sequence, temperature: float) -> Tensor:
        raise AssertionError("not asked for")

    def divergence(self, reference: Path, prompts: Sequence, responses: Sequence, temperature: float) -> Tensor:
        raise AssertionError("not asked for")

    def restarts(self) -> int:
        return 0

    def layer_states(self, tokens: Sequence[int]) -> Tensor:
        raise AssertionError("not asked for")

    def close(self) -> None:
        self.gate.set()


class Lengths:
    """A scorer whose score is the number in a prompt's id; it says what it has been asked for."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, ...]] = []

    def score(self, rollouts: Rollouts) -> Scores:
        self.asked.append(rollouts.prompt_ids)
        return Scores(torch.tensor([[float(name[1:]) for name in rollouts.prompt_ids]]), None)


def queue(engine: Gated, apart: bool = False, scorer: Lengths | None = None) -> tuple[RolloutQueue, PromptQueue]:
    prompts = PromptQueue([f"p{i}" for i in range(6)], [[i] for i in range(6)], 0)
    where = {"seed": 0, "count": 2, "samples": 1, "part": 1, "apart": apart}
    return RolloutQueue(engine, scorer or Lengths(), prompts, SAMPLING, Spans(), **where), prompts


def test_each_step_has_its_prompts_and_the_weights_of_the_step_before():
    engine = Gated()
    engine.gate.set()
    rollouts, prompts = queue(engine)
    order = prompts.at(0, 6, 1).prompt_ids
    versions = []
    for step in range(3):
        made = rollouts.take(step)
        versions.append(made.version)
        if step < 2:
            rollouts.start(step + 1)
        rollouts.wait()
        engine.load_weights({}, step + 1)
        prompts.consume(2)
        assert made.rollouts.prompt_ids == order[2 * step : 2 * step + 2]
    assert versions == [0, 0, 1], "the first is fresh, then one update old"
    assert [call[0] for call in engine.calls] == [0, 1, 2]


def test_generation_goes_on_beside_what_follows():
    engine = Gated()
    rollouts, _ = queue(engine)
    rollouts.start(1)
    assert engine.calls == []
    engine.gate.set()
    rollouts.wait()
    assert len(engine.calls) == 1
    assert [span.name for span in rollouts.spans.recorded] == ["generate"]
    assert rollouts.take(1).scores.rewards_KB.shape == (1, 2)
    assert [span.name for span in rollouts.spans.recorded] == ["generate", "score"]


def test_an_engine_of_this_process_works_in_no_other_thread():
    threads = []

    class Here(Gated):
        elsewhere = False

        def generate(self, prompts: PromptBatch, sampling: Sampling, seed: int, step: int) -> Rollouts:
            threads.append(threading.current_thread())
            return super().generate(prompts, sampling, seed, step)

    engine = Here()
    engine.gate.set()
    rollouts, _ = queue(engine)
    rollouts.start(1)
    assert threads == [threading.current_thread()]
    assert rollouts.take(1).version == 0


def test_what_is_under_way_is_not_consumed():
    engine = Gated()
    engine.gate.set()
    rollouts, prompts = queue(engine)
    before = prompts.state_dict()
    rollouts.start(1)
    rollouts.wait()
    assert prompts.state_dict() == before


def test_what_was_made_ahead_is_kept():
    engine = Gated()
    engine.gate.set()
    rollouts, _ = queue(engine)
    assert rollouts.state_dict() == {}
    engine.version = 5
    rollouts.start(1)
    state = rollouts.state_dict()
    other, _ = queue(Gated())
    other.load_state_dict(state)
    made = other.take(1)
    assert made.version == 5
    own = rollouts.take(1)
    assert made.rollouts.prompt_ids == own.rollouts.prompt_ids
    assert made.scores.rewards_KB.equal(own.scores.rewards_KB)
    assert len(engine.calls) == 1


def test_what_was_not_trained_on_is_taken_again_unless_it_can_be_made_again():
    engine = Gated()
    engine.gate.set()
    rollouts, _ = queue(engine)
    made = rollouts.take(0)
    rollouts.give_back(made)
    assert rollouts.state_dict() == {}, "not scored yet, by weights that are still there"
    scored = Made.whole(made.rollouts, made.version, made.scores)
    rollouts.give_back(scored)
    assert rollouts.take(0) is scored
    engine.version = 1
    rollouts.give_back(made)
    assert rollouts.take(0) is made, "its weights are gone"


@pytest.mark.parametrize("apart", [False, True])
def test_scores_are_of_their_rows(apart: bool):
    engine, scorer = Gated(), Lengths()
    engine.gate.set()
    rollouts, prompts = queue(engine, apart, scorer)
    made = rollouts.take(0)
    names = prompts.at(0, 2, 1).prompt_ids
    assert made.scores.rewards_KB.tolist() == [[float(name[1:]) for name in names]]
    assert sorted(scorer.asked) == sorted([(name,) for name in names] if apart else [names])
    assert made.rollouts.prompt_ids == names


def test_apart_a_part_is_scored_while_the_next_is_sampled():
    """The second part is sampled only once the first has been scored: together they would wait for ever."""
    scorer = Lengths()

    class Second(Gated):
        def generate(self, prompts: PromptBatch, sampling: Sampling, seed: int, step: int) -> Rollouts:
            deadline = time.monotonic() + 20
            while len(self.calls) == 1 and not scorer.asked:
                assert time.monotonic() < deadline
                time.sleep(0.01)
            return super().generate(prompts, sampling, seed, step)

    engine = Second()
    engine.gate.set()
    rollouts, _ = queue(engine, True, scorer)
    assert rollouts.take(0).scores.rewards_KB.shape == (1, 2)


def test_errors_come_back():
    engine = Gated()
    engine.gate.set()
    rollouts, _ = queue(engine)
    rollouts.start(13)
    with pytest.raises(ValueError, match="step 13"):
        rollouts.wait()
