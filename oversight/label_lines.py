"""Curves of accuracy by labels, and arms against uniform choice. Shapes: R rounds, S seeds, N gold pairs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from sandwiching.configs.load import arm_config
from sandwiching.configs.schema import Config
from sandwiching.oversight.expert_pairs import ExpertPair
from sandwiching.oversight.intervals import Interval, mean_interval, share_interval
from sandwiching.oversight.label_spending import Spent
from sandwiching.oversight.spread import Array


@dataclass(frozen=True, slots=True)
class Line:
    """One arm: labels and cost after each round [R], and its accuracy there."""

    tier: str
    choose: str
    labels: list[int]
    units: list[float]
    accuracy: list[Interval]


@dataclass(frozen=True, slots=True)
class Against:
    """An arm against the uniform one of its tier. over: difference of accuracy, mean over all rounds in which they
    chose differently; target: what uniform has at its end; needed: labels until each first has it, None where not.
    """

    arm: str
    uniform: str
    over: Interval
    by_round: list[Interval]
    target: float
    needed: float | None
    needed_uniform: float | None

    @property
    def said(self) -> str:
        """The verdict in words."""
        more = f"{self.over.estimate:+.3f} [{self.over.low:+.3f}, {self.over.high:+.3f}]"
        won = (
            f"{self.arm} wins"
            if self.over.low > 0
            else f"{self.uniform} wins"
            if self.over.high < 0
            else "neither wins"
        )
        arm, uniform = (
            "not reached" if one is None else f"{one:.0f} labels" for one in (self.needed, self.needed_uniform)
        )
        return (
            f"{self.arm} against {self.uniform}: {won}; accuracy {more}, mean of the rounds after the first; "
            f"for {self.target:.3f} {self.arm}: {arm}, {self.uniform}: {uniform}"
        )


def outcomes(rows: Sequence[Sequence[Spent]]) -> Array:
    """[R, S, N]: round, seed, gold pair."""
    return np.array([[spent.outcomes for spent in row] for row in rows]).swapaxes(0, 1)


def lines_of(config: Config, gold: Sequence[ExpertPair], found: Mapping[str, list[list[Spent]]]) -> dict[str, Line]:
    """Each arm's curve; labels are means over seeds."""
    groups = [pair.group for pair in gold]
    lines = {}
    for name, rows in found.items():
        arm = arm_config(config, name)
        lines[name] = Line(
            tier=arm.arms[name].tier,
            choose=arm.labels.choose,
            labels=[round(float(np.mean([one.labels for one in at]))) for at in zip(*rows, strict=True)],
            units=[float(np.mean([one.units for one in at])) for at in zip(*rows, strict=True)],
            accuracy=[share_interval(one_SN, groups, config.check.confidence) for one_SN in outcomes(rows)],
        )
    return lines


def comparisons(
    lines: Mapping[str, Line], gold: Sequence[ExpertPair], found: Mapping[str, list[list[Spent]]], confidence: float
) -> list[Against]:
    """Every arm against the first uniform one of its tier, paired by seed and gold pair."""
    groups = [pair.group for pair in gold]
    compared = []
    for name, line in lines.items():
        uniform = next(
            (one for one, other in lines.items() if (other.tier, other.choose) == (line.tier, "uniform")), name
        )
        if uniform == name or len(line.labels) < 2:
            continue
        over_RSN = outcomes(found[name]) - outcomes(found[uniform])
        target = lines[uniform].accuracy[-1].estimate
        compared.append(
            Against(
                arm=name,
                uniform=uniform,
                over=mean_interval(over_RSN[1:].mean(axis=0), groups, confidence),
                by_round=[mean_interval(one_SN, groups, confidence) for one_SN in over_RSN],
                target=target,
                needed=labels_needed(line, target),
                needed_uniform=labels_needed(lines[uniform], target),
            )
        )
    return compared


def labels_needed(line: Line, target: float) -> float | None:
    """Labels at which the curve, straight between rounds, first has the target; None where it never does."""
    levels = [one.estimate for one in line.accuracy]
    for place, level in enumerate(levels):
        if level >= target:
            if place == 0:
                return float(line.labels[0])
            share = (target - levels[place - 1]) / (level - levels[place - 1])
            return line.labels[place - 1] + share * (line.labels[place] - line.labels[place - 1])
    return None
