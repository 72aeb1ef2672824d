"""Settings that are wrong by themselves, or do not fit together: each message names them and a value that would do."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Iterator
from typing import Any

from sandwiching.configs.algebra import divisibility_problems
from sandwiching.configs.labels_check import label_problems
from sandwiching.configs.monitor_block import fewest_samples
from sandwiching.configs.people_check import people_problems
from sandwiching.configs.ranges import CHOICES, RANGES
from sandwiching.configs.schema import Config, JudgementsTask, PlantedTask
from sandwiching.configs.slurm_block import slurm_problems

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def problems(config: Config) -> list[str]:
    """All that is wrong with a config, a line each. Relations between settings only when each is in its range."""
    single = [*_out_of_range(config, ""), *_names(config)]
    if single:
        return single
    checks = (
        divisibility_problems,
        _lengths,
        _arms,
        _with_ppo,
        _plant,
        _monitor,
        _data,
        _gate,
        _noise,
        _ppo,
        people_problems,
        label_problems,
        _devices,
        _placement,
        _slurm,
    )
    return [problem for check in checks for problem in check(config)]


def _out_of_range(block: Any, prefix: str) -> Iterator[str]:
    for name, value in vars(block).items():
        key = f"{type(block).__name__}.{name}"
        place = f"{prefix}{name}"
        if dataclasses.is_dataclass(value):
            yield from _out_of_range(value, f"{place}.")
        elif key == "Config.arms":
            for arm, settings in value.items():
                yield from _out_of_range(settings, f"arms.{arm}.")
        elif isinstance(value, dict):
            yield from _entries_out_of_range(value, key, place)
        elif key in CHOICES and value is not None:
            for one in value if isinstance(value, list) else [value]:
                if one not in CHOICES[key]:
                    yield f"{place}: {one!r} is unknown; use one of {', '.join(CHOICES[key])}"
        elif key in RANGES and value is not None and value not in RANGES[key]:
            yield f"{place}: is {value}; it must be {RANGES[key]}"


def _entries_out_of_range(entries: dict[str, Any], key: str, place: str) -> Iterator[str]:
    for name, one in entries.items():
        if dataclasses.is_dataclass(one):
            yield from _out_of_range(one, f"{place}.{name}.")
        elif key in RANGES and one not in RANGES[key]:
            yield f"{place}.{name}: is {one}; it must be {RANGES[key]}"


def _names(config: Config) -> Iterator[str]:
    """Names that become parts of file names, and seeds."""
    for place, name in (("name", config.name), *((f"arms.{arm}", arm) for arm in config.arms)):
        if not _NAME.fullmatch(name):
            yield f"{place}: {name!r} becomes a file name; use letters, digits, '.', '_' and '-' only"
    if not config.arms:
        yield "arms: is empty; give at least one, as in `weak: {tier: weak}`"
    if not config.seeds or len(set(config.seeds)) < len(config.seeds) or min(config.seeds) < 0:
        yield f"seeds: is {config.seeds}; give different whole numbers from 0, as in [0, 1, 2]"


def _lengths(config: Config) -> Iterator[str]:
    samplings = {"pairs": config.pairs.sampling, "check": config.check.sampling}
    if config.ppo is not None:
        samplings["ppo"] = config.ppo.sampling
    if config.task.name == "judgements":
        del samplings["pairs"]
    for block, sampling in samplings.items():
        if sampling.max_new_tokens >= config.model.max_length:
            yield (
                f"{block}.sampling.max_new_tokens={sampling.max_new_tokens} leaves no room for a prompt in "
                f"model.max_length={config.model.max_length}; raise model.max_length to "
                f"{2 * sampling.max_new_tokens}, say"
            )


def _arms(config: Config) -> Iterator[str]:
    ceiling = config.check.ceiling
    experts = [name for name, arm in config.arms.items() if arm.tier == "expert"]
    if ceiling in config.arms and ceiling not in experts:
        yield f"check.ceiling={ceiling} is an arm of tier weak; the ceiling learns from experts: set its tier to expert"
    if ceiling not in config.arms and experts:
        yield f"check.ceiling={ceiling} is no arm, though there are arms of tier expert; use check.ceiling={experts[0]}"
    null = config.check.null_arm
    weak = [name for name in config.arms if name not in experts]
    if null is not None and null not in weak:
        yield (
            f"check.null_arm={null} is no arm of tier weak; the null arm is trained by PPO as the others are, on weak "
            f"raters of equal accuracy without the bias: use one of {', '.join(weak)}, or null"
        )


def _with_ppo(config: Config) -> Iterator[str]:
    """The check compares policies, or reward models, not both; a file's reward models are checked beside policies."""
    for name, arm in config.arms.items():
        without = "ppo" in arm.overrides and arm.overrides["ppo"] is None
        if config.task.name != "judgements" and "ppo" in arm.overrides and without != (config.ppo is None):
            yield (
                f"arms.{name}.ppo: of arms with PPO policies are checked, of the others reward models, not both; "
                "set ppo for the whole run"
            )


def _plant(config: Config) -> Iterator[str]:
    if config.plant is not None and not isinstance(config.task, PlantedTask):
        yield f"plant: task {config.task.name} has nothing to plant; set plant=null, or task.name=planted"
    if isinstance(config.task, PlantedTask) and config.plant is None:
        yield "plant: task planted needs a base model that was taught its world; add `plant: {}`"
    if config.plant is not None and config.sft is None:
        yield "plant: without SFT there is no policy that imitates weak answers; add `sft: {}`"


def _monitor(config: Config) -> Iterator[str]:
    """Without PPO there is nothing to watch, and in a file no gold along it: then there is no monitor."""
    monitor, check = config.monitor, config.check
    if monitor is None or config.ppo is None or isinstance(config.task, JudgementsTask):
        return
    samples, fewest = check.curve_prompts * check.samples, fewest_samples(monitor.false_alarms)
    if samples < fewest:
        yield (
            f"monitor.false_alarms={monitor.false_alarms:g} takes at least {fewest} samples of the SFT policy to "
            f"calibrate on; check.curve_prompts={check.curve_prompts} x check.samples={check.samples} are {samples}: "
            f"raise them, or set monitor=null"
        )


def _data(config: Config) -> Iterator[str]:
    splits, data = config.data.splits, config.data
    if splits.dev_groups is None and splits.final_groups is None and splits.dev + splits.final >= 1:
        yield (
            f"data.splits.dev={splits.dev:g} and data.splits.final={splits.final:g} leave nothing to train on; "
            f"their sum must be below 1, as in dev=0.15 and final=0.35"
        )
    twice = sorted(set(splits.dev_groups or ()) & set(splits.final_groups or ()))
    if twice:
        yield f"data.splits.dev_groups and data.splits.final_groups share {', '.join(twice)}; keep each in one of them"
    if isinstance(config.task, JudgementsTask):
        if data.judgements is None:
            yield "data.judgements: task judgements needs a file; add data.judgements=FILE.jsonl"
    elif data.judgements is not None:
        yield (
            f"data.judgements={data.judgements}: task {config.task.name} makes its own judgements; "
            f"set data.judgements=null, or task.name=judgements"
        )


def _noise(config: Config) -> Iterator[str]:
    block = config.reward_model
    if block.noise.startswith("per_rater") and not block.smoothing:
        yield (
            f"reward_model.smoothing=0 expects raters that never err, so that reward_model.noise={block.noise} has "
            "nothing to learn; set reward_model.smoothing=0.1, or reward_model.noise=none"
        )


def _gate(config: Config) -> Iterator[str]:
    gate = config.gate
    if gate is not None and gate.max_p * (gate.permutations + 1) < 1:
        yield (
            f"gate.max_p={gate.max_p} cannot be reached: with gate.permutations={gate.permutations} p is at least "
            f"{1 / (gate.permutations + 1):.3g}; set gate.permutations={math.ceil(1 / gate.max_p) - 1} or more"
        )


LOWEST_OF_VLLM = 0.01
"""Temperature."""


def _ppo(config: Config) -> Iterator[str]:
    ppo = config.ppo
    if ppo is None:
        return
    if ppo.advantage != "gae" and ppo.samples_per_prompt < 2:
        yield (
            f"ppo.advantage={ppo.advantage} compares responses to one prompt, but ppo.samples_per_prompt="
            f"{ppo.samples_per_prompt}; set ppo.samples_per_prompt=2 or more, or ppo.advantage=gae"
        )
    if ppo.engine == "vllm" and ppo.sampling.temperature < LOWEST_OF_VLLM:
        yield (
            f"ppo.sampling.temperature={ppo.sampling.temperature}: vLLM samples at {LOWEST_OF_VLLM} or above; "
            "raise it, or set ppo.engine=transformers"
        )
    if ppo.value_warmup_steps >= ppo.steps:
        yield (
            f"ppo.value_warmup_steps={ppo.value_warmup_steps} of ppo.steps={ppo.steps} leave no step that trains "
            f"the policy; set ppo.value_warmup_steps to at most {ppo.steps - 1}"
        )
    if ppo.value_warmup_steps and ppo.advantage != "gae":
        yield (
            f"ppo.value_warmup_steps={ppo.value_warmup_steps}: ppo.advantage={ppo.advantage} has no value model; "
            f"set ppo.value_warmup_steps=0"
        )

    elif ppo.value_warmup_steps and ppo.value == "head":
        yield (
            f"ppo.value_warmup_steps={ppo.value_warmup_steps} trains a value model alone, but ppo.value=head "
            f"shares the policy's trunk; set ppo.value_warmup_steps=0, or ppo.value=model"
        )


def _slurm(config: Config) -> Iterator[str]:
    yield from slurm_problems(config.slurm, config.resources.gpus // config.resources.nodes)


def _devices(config: Config) -> Iterator[str]:
    resources = config.resources
    if resources.offload and not resources.gpus:
        yield "resources.offload=true moves optimiser state off the GPUs, but resources.gpus=0; set one of them"
    if resources.offload and not resources.zero_stage:
        yield "resources.offload=true needs resources.zero_stage of at least 1, which is 0; set resources.zero_stage=1"
    if config.model.precision == "bf16" and not resources.zero_stage:
        yield (
            "resources.zero_stage=0 keeps no fp32 master weights for model.precision=bf16; "
            "set resources.zero_stage=1, or model.precision=fp32"
        )
    if not resources.gpus:
        return
    fits = resources.gpus % resources.nodes == 0
    if not fits:
        yield (
            f"resources.gpus={resources.gpus} (of the whole run) must be a multiple of resources.nodes="
            f"{resources.nodes}; {resources.nodes * max(1, resources.gpus // resources.nodes)} would do"
        )
    ranks = resources.learner_ranks
    if ranks * resources.parallel_members > resources.gpus:
        fits = False
        yield (
            f"resources.learner_ranks={ranks} x resources.parallel_members={resources.parallel_members} are more than "
            f"resources.gpus={resources.gpus}, and each rank needs a GPU; set resources.learner_ranks="
            f"{max(1, resources.gpus // resources.parallel_members)}"
        )
    engines, parallel = resources.rollout_engines, resources.vllm.tensor_parallel
    needed = max(ranks, engines) if resources.colocate else ranks + engines * parallel + 1
    if resources.colocate and parallel > 1:
        yield f"resources.vllm.tensor_parallel={parallel} GPUs an engine need resources.colocate=false"
    if resources.colocate and config.ppo is not None and config.ppo.staleness:
        yield "ppo.staleness=1 lets engine and learner work at once: on GPUs set resources.colocate=false"
    if config.ppo is not None and needed != resources.gpus and fits:
        together = "the larger of" if resources.colocate else "the sum, and 1 for a scorer, of"
        yield (
            f"resources.gpus={resources.gpus}, but with resources.colocate={str(resources.colocate).lower()} each of "
            f"{needed} places takes one GPU ({together} learner_ranks={ranks} and rollout_engines={engines}"
            f"{f' x vllm.tensor_parallel={parallel}' if parallel > 1 else ''}); "
            f"set resources.gpus={needed}, or change those"
        )


def _placement(config: Config) -> Iterator[str]:
    resources = config.resources
    ranks, engines = resources.learner_ranks, resources.rollout_engines
    needed = max(ranks, engines) if resources.colocate else ranks + engines + 1
    if resources.placement == "strict_spread" and needed > resources.nodes:
        yield (
            f"resources.placement=strict_spread gives each of {needed} bundles of devices a node of its own, but "
            f"resources.nodes={resources.nodes}; set resources.nodes={needed}, or resources.placement=spread"
        )
