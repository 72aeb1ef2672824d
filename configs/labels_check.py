"""Settings about spending labels that do not fit together."""

from __future__ import annotations

from collections.abc import Iterator

from sandwiching.configs.labels_block import LabelsConfig
from sandwiching.configs.schema import Config


def label_problems(config: Config) -> Iterator[str]:
    """A line a problem, each naming the settings and values that would do."""
    labels, reward = config.labels, config.reward_model
    if config.task.name == "judgements":
        if labels != LabelsConfig(cost=labels.cost):
            yield (
                "labels: rounds need new pairs and raters to ask, but task judgements has its judgements in a file; "
                "set labels.rounds=1 and labels.pairs_per_round=null, or task.name=capitals"
            )
        return
    if labels.rounds > 1 and labels.pairs_per_round is None and config.ppo is None:
        yield (
            f"labels.rounds={labels.rounds}: with ppo=null all rounds share the same pairs, and "
            "labels.pairs_per_round=null spends labels on all of them in the first; set labels.pairs_per_round"
        )
    if labels.choose != "variance":
        return
    if labels.pairs_per_round is None:
        yield "labels.choose=variance, but labels.pairs_per_round=null leaves nothing to choose; set how many"
    if labels.rounds == 1:
        yield (
            "labels.choose=variance asks the reward models of the round before, and labels.rounds=1 has none; "
            "set labels.rounds=2 or more"
        )
    if reward.members < 2:
        yield (
            f"labels.choose=variance needs reward models that can disagree, but reward_model.members={reward.members}; "
            "set reward_model.members=3, say"
        )
    elif reward.kind == "probe" and reward.bootstrap == "none":
        yield (
            "labels.choose=variance: probes that all see the same judgements are all the same; "
            "set reward_model.bootstrap=raters"
        )
