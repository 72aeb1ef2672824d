"""Batch algebra: how the global batches of a config are cut over ranks, micro-batches and accumulation.

sft.batch_size     = learner_ranks x micro_batch x accumulation
ppo.batch_size     = prompts x samples_per_prompt = minibatches x learner_ranks x responses of a rank
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from sandwiching.configs.schema import Config, RewardModelConfig


def batch_algebra(config: Config) -> list[str]:
    """The batches of every stage, a line each, as equations with the numbers put in."""
    resources, reward, ppo = config.resources, config.reward_model, config.ppo
    ranks = resources.learner_ranks
    lines = []
    if config.sft is not None:
        size = config.sft.batch_size
        lines.append(
            f"sft: {size} demonstrations a step = {_cut(size, min(resources.micro_batch, size // ranks), ranks)}"
        )
    if reward.kind != "probe":
        lines.append(
            f"reward_model: at most {reward.batch_texts} unique texts a step, each forwarded once, over {ranks} ranks; "
            f"{reward.members} members"
        )
    if ppo is not None:
        size, samples, minibatches = ppo.batch_size, ppo.samples_per_prompt, ppo.minibatches
        minibatch = size // minibatches
        own = minibatch // ranks
        rows = min(own, resources.micro_batch)
        updates = ppo.steps * ppo.epochs * minibatches
        lines += [
            f"ppo: {size} responses a step = {size // samples} prompts x {samples} samples",
            f"ppo: {size} responses = {minibatches} minibatches x {minibatch}",
            f"ppo: a minibatch of {minibatch} = {ranks} ranks x {own} responses; at most {rows} of full length a pass, "
            f"more of shorter ones: at most {-(-own // rows)} passes",
            _scoring(config),
            f"ppo: {ppo.steps} steps x {size} responses = {ppo.steps * size} episodes",
            f"ppo: {ppo.steps} steps x {ppo.epochs} epochs x {minibatches} minibatches = {updates} optimiser steps",
        ]
    return lines


def scoring_passes(reward: RewardModelConfig) -> int:
    """Forward passes of a trunk that the ensemble's scores of one text cost: heads on one trunk share theirs."""
    return 1 if reward.kind == "probe" else reward.members


def shares_trunk(config: Config) -> bool:
    """Whether several members are held as one trunk (training/members.py)."""
    reward = config.reward_model
    shared = reward.kind == "probe" or (reward.kind == "lora" and config.model.precision == "fp32")
    return reward.members > 1 and shared


def _scoring(config: Config) -> str:
    reward = config.reward_model
    if reward.members == 1:
        return "ppo: 1 reward model; forward passes a response: 1"
    own = {"probe": "head", "lora": "adapter", "full": "model"}[reward.kind]
    held = f"one trunk in memory with {_article(own)} each" if shares_trunk(config) else "a whole model in memory each"
    passes = scoring_passes(reward)
    times = "about the time of one" if passes == 1 else f"about {passes} times the time of one"
    cost = f"forward passes a response: {passes}, {times}"
    return f"ppo: {reward.members} reward models ({reward.kind}), {held}; {cost}"


def _article(noun: str) -> str:
    return f"an {noun}" if noun[0] in "aeiou" else f"a {noun}"


def divisibility_problems(config: Config) -> Iterator[str]:
    """What does not divide, with the nearest values that would."""
    ranks, micro = config.resources.learner_ranks, config.resources.micro_batch
    if config.sft is not None:
        size = config.sft.batch_size
        unit = ranks * min(micro, max(1, size // ranks))
        if size % unit:
            yield (
                f"sft.batch_size={size} must be a multiple of resources.learner_ranks={ranks} times "
                f"resources.micro_batch={micro}; {_nearest(size, unit)} would do"
            )
    ppo = config.ppo
    if ppo is None:
        return
    size, samples, minibatches = ppo.batch_size, ppo.samples_per_prompt, ppo.minibatches
    whole = math.lcm(samples, minibatches * ranks)
    if size % samples:
        yield (
            f"ppo.batch_size={size} must be a multiple of ppo.samples_per_prompt={samples}; "
            f"{_nearest(size, whole)} would do"
        )
    if size % (minibatches * ranks):
        yield (
            f"ppo.batch_size={size} must be a multiple of ppo.minibatches={minibatches} times "
            f"resources.learner_ranks={ranks}; {_nearest(size, whole)} would do"
        )


def _cut(size: int, rows: int, ranks: int) -> str:
    return f"{ranks} ranks x {rows} micro_batch x {size // ranks // rows} accumulation"


def _nearest(value: int, unit: int) -> str:
    below = value // unit * unit
    return f"{below} or {below + unit}" if below else str(unit)
