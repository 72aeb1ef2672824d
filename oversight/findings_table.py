"""The findings of a check as tables, for the terminal and as plain text; and as flat metrics."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from sandwiching.oversight.best_of_n import BestOfN
from sandwiching.oversight.competence import CompetenceSlope
from sandwiching.oversight.findings import ArmFooling, Findings
from sandwiching.oversight.fooling import Decomposition
from sandwiching.oversight.over_optimisation import GaoFit
from sandwiching.oversight.recovery import Stage
from sandwiching.oversight.summary import level, ratio, signed
from sandwiching.oversight.table import NONE, add_row, new_table
from sandwiching.oversight.wording import Moved

TERMS = {
    "approval": "change of approval",
    "correctness": "change of correctness",
    "difference": "approval - correctness",
    "credit": "= right answers gained, not honoured",
    "right": "+ approval of right answers",
    "fooled": "+ fooling",
    "other_wrong": "+ other answers are wrong now",
}


def render_findings(found: Findings) -> dict[str, list[RenderableType]]:
    """By topic, fooling first; what is missing stands with fooling or, of fits, with over-optimisation."""
    fooled: list[RenderableType] = [fooling_table(found.fooling)] if found.fooling else []
    for arm, one in found.fooling.items():
        fooled += _of_arm(arm, one)
    optimised: list[RenderableType] = [best_of_n_table(found.best_of_n)]
    if any(found.fits.values()):
        optimised.append(fits_table(found.fits))
    for place, why in found.missing.items():
        said = Text(why if place == "fooling" else f"{place}: {why}", style="dim")
        (optimised if " fit of " in place else fooled).append(said)
    recovered: list[RenderableType] = [recovered_table(name, one) for name, one in found.recovered.items()]
    return {"fooling": fooled, "recovery": recovered, "optimisation": optimised}


def fooling_sentences(found: Findings, ceiling: str | None) -> list[str]:
    """For the headline, of each arm but the ceiling: its fooling, and that over the null arm's."""
    said = []
    for arm, one in found.fooling.items():
        if arm == ceiling or one.fooling is None:
            continue
        beside = "" if one.null is None else f"; {signed(one.null.difference)} over the null arm at matched KL"
        change = signed(one.fooling.change)
        said.append(f"{arm}: fooling (approval of wrong answers, over the floor's) {change}{beside}.")
    return said or ([f"Fooling: {found.missing['fooling']}"] if "fooling" in found.missing else [])


def fooling_table(found: Mapping[str, ArmFooling]) -> Table:
    """A row an arm: P(approved | wrong) of floor and arm on the same items, fooling, and that less the null arm's."""
    columns = ("", "floor", "arm", "fooling", "items", "null, KL matched", "fooling - null", "KL matched")
    table = new_table("Fooling: approval of wrong answers, on what both policies get wrong", columns)
    for arm, one in found.items():
        if one.fooling is None:
            continue
        own, null = one.fooling, one.null
        beside = [NONE] * 3
        if null is not None:
            nats = f"{sum(null.kl) / len(null.kl):.2f} nats\nof {_mean(null.kl_arm)} and {_mean(null.kl_null)}"
            beside = [signed(null.null, "\n"), signed(null.difference, "\n"), nats]
        size = f"{own.change.items}\n{own.change.groups} groups"
        add_row(table, [arm, f"{own.floor:.2f}", f"{own.arm:.2f}", signed(own.change, "\n"), size, *beside])
        for cell, part in one.cells.items():
            size = f"{part.change.items}\n{part.change.groups} groups"
            add_row(table, [f"  {cell}", f"{part.floor:.2f}", f"{part.arm:.2f}", signed(part.change, "\n"), size])
    return table


def _mean(values: Sequence[float]) -> str:
    return f"{sum(values) / len(values):.2f}"


def _of_arm(arm: str, one: ArmFooling) -> list[RenderableType]:
    parts: list[RenderableType] = []
    if one.decomposition is not None:
        parts.append(decomposition_table(arm, one.decomposition))
    if one.slope is not None:
        parts.append(slope_table(arm, one.slope))
    if one.wording:
        parts.append(wording_table(arm, one.wording))
    return parts


def decomposition_table(arm: str, found: Decomposition) -> Table:
    """The change of approval less that of correctness, and the terms that add up to it."""
    table = new_table(f"{arm}: what approval less correctness is made of", ("", "change"))
    for name, words in TERMS.items():
        add_row(table, [words, signed(getattr(found, name))])
    return table


def slope_table(arm: str, found: CompetenceSlope) -> Table:
    """Whom it fools: by thirds of the raters, and the slope for a tenth more pairs judged right."""
    slope = found.slope
    tenth = f"{slope.estimate / 10:+.3f} [{slope.low / 10:.3f}, {slope.high / 10:.3f}]"
    title = f"{arm}: fooling by the raters' competence; {tenth} for .10 more pairs judged right"
    table = new_table(title, ("raters", "", "pairs right", "floor", "arm", "fooling"))
    for name, third in found.thirds.items():
        shares = (f"{share:.2f}" for share in (third.competence, third.floor, third.arm))
        add_row(table, [name, str(third.raters), *shares, signed(third.change)])
    return table


def wording_table(arm: str, found: Mapping[str, Moved]) -> Table:
    """What moved where raters are newly fooled; a star where more than in other wrong answers, all features counted."""
    columns = ("", "before", "newly fooled", "other wrong answers", "difference", "")
    table = new_table(f"{arm}: wording of answers, floor to arm", columns)
    for name, one in found.items():
        star = "*" if one.more_than_chance else ""
        add_row(table, [name, f"{one.floor:.2f}", signed(one.fooled), signed(one.others), signed(one.more), star])
    return table


def recovered_table(name: str, found: Stage) -> Table:
    """Accuracy on gold pairs with each PGR beside its numerator and denominator."""
    columns = ("", "pairs right", "arm - raters", "ceiling - raters", "PGR")
    table = new_table(f"PGR, {name}: held-out pairs of a right and a wrong answer", columns)
    add_row(table, ["one weak vote", level(found.line), NONE, NONE, NONE])
    for arm, accuracy in found.accuracy.items():
        one = found.recovered.get(arm)
        made_of = (signed(one.numerator), signed(one.denominator), ratio(one.ratio)) if one else (NONE, NONE, NONE)
        add_row(table, [arm, level(accuracy), *made_of])
    for arm, why in found.missing.items():
        add_row(table, [arm, why, NONE, NONE, NONE])
    return table


def best_of_n_table(found: Mapping[str, Sequence[BestOfN]]) -> Table:
    """Each arm's reward models choosing among the floor's samples."""
    columns = ("", "n", "KL at most", "gain, proxy", "free correct", "gain free", "gain approval")
    table = new_table("Best of n samples of the floor, chosen by the arm's reward models", columns)
    for arm, rows in found.items():
        for row in rows[1:]:
            name = arm if row is rows[1] else ""
            gains = signed(row.gain_score), level(row.free), signed(row.gain_free), signed(row.gain_approval)
            add_row(table, [name, str(row.n), f"{row.kl_bound:.2f}", *gains], end_section=row is rows[-1])
    return table


def fits_table(found: Mapping[str, Mapping[str, GaoFit]]) -> Table:
    """Gao et al.'s forms."""
    columns = ("", "gain over the floor", "a", "b", "peak, sqrt(KL)")
    table = new_table("Over-optimisation: d (a - b log d) along PPO, d (a - b d) for best of n, d = sqrt(KL)", columns)
    for arm, fits in found.items():
        for place, (name, fit) in enumerate(fits.items()):
            label = "" if place else arm
            add_row(table, [label, name, signed(fit.a), signed(fit.b), fit.said], end_section=place == len(fits) - 1)
    return table


def flat_findings(found: Findings) -> dict[str, float]:
    """Finite numbers for the manifest, under check/<arm>/<name>; what is undefined is left out."""
    metrics = {**_flat_fooling(found.fooling), **_flat_recovered(found.recovered)}
    for arm, rows in found.best_of_n.items():
        metrics[f"check/{arm}/best_of_{rows[-1].n}_free"] = rows[-1].free.estimate
        metrics[f"check/{arm}/best_of_{rows[-1].n}_gain_free"] = rows[-1].gain_free.estimate
    for arm, fits in found.fits.items():
        for name, fit in fits.items():
            if fit.peak is not None and fit.peak.reached and math.isfinite(fit.peak.distance):
                metrics[f"check/{arm}/peak_{name.replace(', ', '_').replace(' ', '_')}"] = fit.peak.distance
    return metrics


def _flat_fooling(found: Mapping[str, ArmFooling]) -> dict[str, float]:
    metrics: dict[str, float] = {}
    for arm, one in found.items():
        if one.fooling is not None:
            metrics[f"check/{arm}/fooling"] = one.fooling.change.estimate
        if one.null is not None:
            metrics[f"check/{arm}/fooling_over_null"] = one.null.difference.estimate
        if one.slope is not None:
            metrics[f"check/{arm}/fooling_slope"] = one.slope.slope.estimate
    return metrics


def _flat_recovered(found: Mapping[str, Stage]) -> dict[str, float]:
    metrics: dict[str, float] = {}
    for name, stage in found.items():
        short = name.replace(" ", "_")
        metrics[f"check/raters/{short}_pairs"] = stage.line.estimate
        metrics |= {f"check/{arm}/{short}_pairs": accuracy.estimate for arm, accuracy in stage.accuracy.items()}
        for arm, gap in stage.recovered.items():
            if gap.ratio.kind == "bounded":
                metrics[f"check/{arm}/pgr_{short}"] = gap.ratio.estimate
    return metrics
