"""The plan of batches: exactly once, never more than a batch, each text once a step, the same steps on any machine."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sandwiching.reward_model.bundles import plan_batches, plan_steps


@st.composite
def graphs(draw):
    texts = draw(st.integers(2, 24))
    pair = st.tuples(st.integers(0, texts - 1), st.integers(0, texts - 1)).filter(lambda ends: ends[0] != ends[1])
    ends = draw(st.lists(pair, min_size=1, max_size=60))
    weights = draw(st.lists(st.sampled_from([0.0, 0.5, 1.0, 2.0]), min_size=len(ends), max_size=len(ends)))
    weights[0] = 1.0
    a, b = (torch.tensor(column) for column in zip(*ends, strict=True))
    return a, b, torch.tensor(weights)


@settings(deadline=None)
@given(graphs(), st.integers(2, 9), st.integers(0, 3), st.integers(1, 3))
def test_steps_hold_every_judgement_once_an_epoch_and_few_texts(graph, batch_texts, seed, epochs):
    a, b, weight = graph
    steps = plan_steps(a, b, weight, batch_texts, seed, epochs)
    assert sorted(edge for step in steps for edge in step) == sorted(weight.nonzero().flatten().tolist() * epochs)
    for step in steps:
        assert len({*a[step].tolist(), *b[step].tolist()}) <= batch_texts


@settings(deadline=None)
@given(graphs(), st.integers(2, 9), st.integers(1, 3), st.integers(1, 5))
def test_batches_cut_steps_without_forwarding_a_text_twice(graph, batch_texts, ranks, micro_batch):
    a, b, weight = graph
    steps = plan_steps(a, b, weight, batch_texts, 0, 1)
    plan = plan_batches(a, b, weight, batch_texts=batch_texts, ranks=ranks, micro_batch=micro_batch, seed=0, epochs=1)
    size = plan.passes * ranks
    assert plan.steps == len(steps)
    assert len(plan.batches) == len(steps) * size
    for i, step in enumerate(steps):
        batches = plan.batches[i * size : (i + 1) * size]
        assert sorted(edge for batch in batches for edge in batch.judgements) == sorted(step)
        texts = [text for batch in batches if batch.judgements for text in batch.texts]
        assert len(texts) == len(set(texts)) == len({*a[step].tolist(), *b[step].tolist()})
        for batch in batches:
            ends = {*a[list(batch.judgements)].tolist(), *b[list(batch.judgements)].tolist()}
            assert ends <= set(batch.texts)
            assert batch.weight == weight[step].sum()


def test_many_votes_on_few_texts_cost_each_text_once():
    generator = torch.Generator().manual_seed(0)
    prompt = torch.randint(100, (5000,), generator=generator)
    a = prompt * 4 + torch.randint(4, (5000,), generator=generator)
    b = prompt * 4 + (a % 4 + 1 + torch.randint(3, (5000,), generator=generator)) % 4
    plan = plan_batches(a, b, torch.ones(5000), batch_texts=32, ranks=1, micro_batch=8, seed=0, epochs=1)
    assert sum(len(batch.texts) for batch in plan.batches if batch.judgements) == 400
    assert plan.steps == 13
    assert max(len(batch.texts) for batch in plan.batches) == 8


def test_an_epoch_has_its_own_order_and_a_seed_fixes_it():
    a, b = torch.arange(0, 40, 2), torch.arange(1, 40, 2)
    first = plan_steps(a, b, torch.ones(20), 4, seed=0, epochs=2)
    assert first == plan_steps(a, b, torch.ones(20), 4, seed=0, epochs=2)
    assert first[:10] != first[10:]
    assert first != plan_steps(a, b, torch.ones(20), 4, seed=1, epochs=2)


def test_steps_do_not_depend_on_the_machine():
    a, b = torch.randint(0, 30, (50,)), torch.randint(30, 60, (50,))
    plans = [
        plan_batches(a, b, torch.ones(50), batch_texts=12, ranks=ranks, micro_batch=micro, seed=0, epochs=1)
        for ranks, micro in ((1, 12), (2, 4), (3, 1))
    ]
    steps = []
    for ranks, plan in zip((1, 2, 3), plans, strict=True):
        size = plan.passes * ranks
        parts = [plan.batches[i * size : (i + 1) * size] for i in range(plan.steps)]
        steps.append([sorted(edge for batch in part for edge in batch.judgements) for part in parts])
    assert steps[0] == steps[1] == steps[2]


def test_impossible_plans_say_why():
    a, b = torch.tensor([0]), torch.tensor([1])
    with pytest.raises(ValueError, match=r"reward_model\.batch_texts=1"):
        plan_steps(a, b, torch.ones(1), 1, 0, 1)
    with pytest.raises(ValueError, match="no judgement has a weight"):
        plan_steps(a, b, torch.zeros(1), 4, 0, 1)
