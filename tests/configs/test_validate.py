"""Every setting has a rule; settings that do not fit together are named together, with a value that would do."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandwiching.configs.fields import block_of, entry_of, settings_of
from sandwiching.configs.load import ConfigError, load
from sandwiching.configs.ranges import CHOICES, FREE_TEXT, RANGES
from sandwiching.configs.schema import TASKS, ArmConfig, Config, PPOConfig
from sandwiching.configs.validate import problems


def settings(kinds: tuple[type, ...]) -> Iterator[str]:
    """`<dataclass>.<setting>` of every setting of these types in the schema."""
    waiting: list[type] = [Config, ArmConfig, *TASKS.values()]
    seen: set[type] = set()
    while waiting:
        block = waiting.pop()
        if block in seen:
            continue
        seen.add(block)
        for name, kind in settings_of(block, TASKS["capitals"]).items():
            inner = block_of(kind) or entry_of(kind)
            if inner is not None:
                waiting.append(inner)
            elif {kind, *get_args(kind)} & set(kinds) and list not in {kind, getattr(kind, "__origin__", None)}:
                yield f"{block.__name__}.{name}"


def test_every_number_has_a_range() -> None:
    assert set(settings((int, float))) == set(RANGES)


def test_every_text_has_choices_or_is_free() -> None:
    free_names = ("ArmConfig.overrides", "PeopleKind.topics", "SweepConfig.space")
    texts = {name for name in settings((str,)) if name not in free_names}
    lists = {"CapitalsTask.kinds", "PlantedTask.kinds", "TrackingConfig.to"}
    assert texts | lists == set(CHOICES) | set(FREE_TEXT)
    assert not set(CHOICES) & set(FREE_TEXT)


def test_defaults_are_within_their_own_rules() -> None:
    assert problems(load("capitals")) == []


JUDGEMENTS = ["task={name: judgements}"]
MODEL = ["judgements.raters=model", "judgements.raters_per_pair=1"]
FILE = [*JUDGEMENTS, "data.judgements=x.jsonl"]
APART = [
    (["ppo.batch_size=33", "ppo.samples_per_prompt=2"], ["ppo.batch_size=33", "ppo.samples_per_prompt=2", "32 or 34"]),
    (["ppo.batch_size=10", "ppo.minibatches=4"], ["ppo.batch_size=10", "ppo.minibatches=4", "8 or 12"]),
    (["ppo.batch_size=8", "sft=null", "resources.learner_ranks=3"], ["resources.learner_ranks=3", "6 or 9"]),
    (["sft.batch_size=20"], ["sft.batch_size=20", "resources.micro_batch=16", "16 or 32"]),
    (["reward_model.noise=per_rater", "reward_model.smoothing=0"], ["reward_model.smoothing=0", "smoothing=0.1"]),
    (["ppo.advantage=group"], ["ppo.advantage=group", "ppo.samples_per_prompt=1", "samples_per_prompt=2"]),
    (["ppo.advantage=leave_one_out"], ["ppo.samples_per_prompt=2"]),
    (["ppo.sampling.max_new_tokens=96"], ["ppo.sampling.max_new_tokens=96", "model.max_length=96", "192"]),
    (["check.ceiling=celing"], ["check.ceiling=celing", "check.ceiling=ceiling"]),
    (["check.ceiling=weak"], ["check.ceiling=weak", "tier weak"]),
    (["check.null_arm=fair"], ["check.null_arm=fair", "is no arm of tier weak", "use one of weak"]),
    (["check.null_arm=ceiling"], ["check.null_arm=ceiling", "is no arm of tier weak"]),
    (["check.best_of=1"], ["check.best_of", "at least 2"]),
    (["data.splits.dev=0.7"], ["data.splits.dev=0.7", "data.splits.final=0.35"]),
    (["data.splits.dev_groups=[a,b]", "data.splits.final_groups=[b]"], ["dev_groups", "final_groups", "share b"]),
    (["data.judgements=x.jsonl"], ["data.judgements=x.jsonl", "task.name=judgements"]),
    (["task.population.a.share=0.7", "task.population.b.share=0.7"], ["task.population", "1.4", "exceed 1"]),
    (["task.population.a={share: 0.5, myth_bias: 1}"], ["task.population.a.myths", "phrases"]),
    ([*FILE, "judgements.raters=simulated"], ["task.population", "add up to 0", "raters fit"]),
    (
        [*FILE, "task.population.a={share: 1, competence: 0.7}"],
        ["task.population.a: competence", "task.truth=expert"],
    ),
    ([*FILE, "task.population.a={share: 1, sycophancy: 1}"], ["task.population.a.sycophancy", "beliefs"]),
    ([*FILE, "task.population.a={share: 1, misconception: 1}"], ["task.population.a.misconception", "myths"]),
    (MODEL, ["judgements.model.path", "judgements.model.url"]),
    (["judgements.raters=model", "judgements.model.path=tiny"], ["judgements.raters_per_pair=3", "=1"]),
    (["judgements.model.path=tiny"], ["judgements.model", "judgements.raters=model"]),
    (
        [*MODEL, "judgements.model={url: http://localhost, answer: text}"],
        ["judgements.model.url=http://localhost", "judgements.model.name"],
    ),
    ([*MODEL, "judgements.model={url: http://localhost, name: x}"], ["judgements.model.answer=text"]),
    (
        [*MODEL, "judgements.model.path=tiny", "judgements.assistance=honest", "sft=null"],
        ["judgements.assistance=honest", "judgements.assistant"],
    ),
    (["judgements.assistance=honest"], ["judgements.assistance=honest", "judgements.raters=model"]),
    (["judgements.assistant=tiny"], ["judgements.assistant=tiny", "judgements.assistance=honest"]),
    (["judgements.raters_per_pair=99"], ["judgements.raters_per_pair=99", "task.raters=40"]),
    (["check.raters_per_response=99"], ["check.raters_per_response=99", "task.check_raters=20"]),
    (["ppo.value_warmup_steps=10", "ppo.value=model"], ["ppo.value_warmup_steps=10", "ppo.steps=10", "at most 9"]),
    (["ppo.value_warmup_steps=2"], ["ppo.value_warmup_steps=2", "ppo.value=head", "ppo.value=model"]),
    (
        ["ppo.value_warmup_steps=2", "ppo.advantage=group", "ppo.samples_per_prompt=2"],
        ["ppo.value_warmup_steps=2", "no value model"],
    ),
    (["resources.offload=true"], ["resources.offload=true", "resources.gpus=0"]),
    (["resources.gpus=3", "resources.nodes=2"], ["resources.gpus=3", "resources.nodes=2", "2 would do"]),
    (["resources.gpus=2", "resources.learner_ranks=4"], ["learner_ranks=4", "resources.gpus=2", "learner_ranks=2"]),
    (["resources.gpus=1", "resources.vllm.tensor_parallel=2"], ["vllm.tensor_parallel=2", "resources.colocate=false"]),
    (["resources.gpus=1", "ppo.staleness=1"], ["ppo.staleness=1", "resources.colocate=false"]),
    (["ppo.engine=vllm", "ppo.sampling.temperature=0.001"], ["ppo.sampling.temperature=0.001", "0.01"]),
    (["resources.gpus=2", "resources.colocate=false"], ["resources.colocate=false", "resources.gpus=3"]),
    (["ppo.kl.coefficient=-1"], ["ppo.kl.coefficient", "at least 0"]),
    (["ppo.optimizer.learning_rate=.inf"], ["ppo.optimizer.learning_rate", "above 0"]),
    (["ppo.sampling.temperature=0"], ["ppo.sampling.temperature", "above 0"]),
    (["pairs.samples=1"], ["pairs.samples", "at least 2"]),
    (["ppo.lam=1.2"], ["ppo.lam", "at most 1"]),
    (["task.kinds=[capital,rivers]"], ["task.kinds", "'rivers'", "neighbour"]),
    (["model.precision=fp16"], ["model.precision", "fp32, bf16"]),
    (["seeds=[0,0]"], ["seeds", "different"]),
    (["seeds=[]"], ["seeds"]),
    (["arms={weak: null, ceiling: null}"], ["arms", "at least one"]),
    (["arms.weak.ppo.batch_size=7", "arms.weak.ppo.minibatches=2"], ["arms.weak: ", "ppo.batch_size=7", "6 or 8"]),
]


@pytest.mark.parametrize(("overrides", "said"), APART, ids=[" ".join(overrides) for overrides, _ in APART])
def test_settings_that_do_not_fit(overrides: list[str], said: list[str]) -> None:
    with pytest.raises(ConfigError) as error:
        load("capitals", overrides)
    message = str(error.value)
    assert len(message.splitlines()) == 1
    for part in said:
        assert part in message


def test_all_problems_are_said_at_once() -> None:
    with pytest.raises(ConfigError) as error:
        load("capitals", ["ppo.lam=2", "ppo.gamma=0", "model.precision=x"])
    assert len(str(error.value).splitlines()) == 3


def test_task_judgements_needs_a_file() -> None:
    with pytest.raises(ConfigError, match=r"data\.judgements=FILE"):
        load("arguments")


@given(
    batch=st.integers(1, 200),
    samples=st.integers(1, 6),
    minibatches=st.integers(1, 6),
    ranks=st.integers(1, 6),
)
def test_the_batch_size_that_is_proposed_would_do(batch: int, samples: int, minibatches: int, ranks: int) -> None:
    config = load("tiny")
    config.sft = None
    config.resources.learner_ranks = ranks
    ppo = PPOConfig(batch_size=batch, samples_per_prompt=samples, minibatches=minibatches)
    config.ppo = ppo
    found = [problem for problem in problems(config) if "ppo.batch_size" in problem]
    fits = batch % samples == 0 and batch % (minibatches * ranks) == 0
    assert (not found) == fits
    for problem in found:
        proposed = re.search(r"; ([\d or]+) would do", problem)
        assert proposed
        for number in proposed[1].split(" or "):
            config.ppo = dataclasses.replace(ppo, batch_size=int(number))
            assert problems(config) == []
