"""What labels draw out of policies, as a table, a picture and JSON: elicitation.txt, .svg and .json of a run.

What was found item by item stays in the expert store. Shapes: S training seeds, N held-out items.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sandwiching.oversight.elicitation import Drawn, Who
from sandwiching.oversight.expert_store import Standing
from sandwiching.oversight.intervals import Interval, mean_interval, share_interval
from sandwiching.oversight.items import Item
from sandwiching.oversight.summary import jsonable, level, signed
from sandwiching.training.artifacts import write_atomic
from sandwiching.training.figures import COLOURS, STYLE, save


@dataclass(frozen=True, slots=True)
class ElicitationRow:
    """One policy after so many labels. jump: what it says less what it said without labels; gap: probe less says."""

    policy: str
    who: Who
    labels: int
    says: Interval
    jump: Interval | None
    probe: Interval | None
    gap: Interval | None
    gap_before: Interval | None
    """probe less what the policy said without labels."""


def elicitation_rows(
    found: Mapping[str, Sequence[Sequence[Drawn]]], groups: Sequence[str], confidence: float
) -> list[ElicitationRow]:
    """found: by policy, for each seed what `drawn_out` gave."""

    def share(values_SN: np.ndarray) -> Interval:
        return share_interval(values_SN.astype(float), groups, confidence)

    def difference(values_SN: np.ndarray) -> Interval:
        return mean_interval(values_SN.astype(float), groups, confidence)

    rows = []
    for policy, seeds in found.items():
        for place, first in enumerate(seeds[0]):
            same = [one[place] for one in seeds]
            says_SN = np.array([one.says for one in same])
            before_SN = np.array([next(two.says for two in one if not two.labels) for one in seeds])
            probes = [one.probe for one in same if one.probe is not None]
            probe_SN = np.array(probes) if probes else None
            rows.append(
                ElicitationRow(
                    policy=policy,
                    who=first.who,
                    labels=first.labels,
                    says=share(says_SN),
                    jump=difference(says_SN - before_SN) if first.labels else None,
                    probe=None if probe_SN is None else share(probe_SN),
                    gap=None if probe_SN is None else difference(probe_SN - says_SN),
                    gap_before=None if probe_SN is None else difference(probe_SN - before_SN),
                )
            )
    return rows


@dataclass(frozen=True, slots=True)
class Headroom:
    """Share of prompts (free answers) of which at least one among n samples is right, and that less one sample's."""

    policy: str
    n: int
    right: Interval
    over_one: Interval


def right_among(right_NJ: np.ndarray, n: int) -> np.ndarray:
    """P(some of n samples is right) [N], from J samples without drawing any: 1 - C(wrong, n) / C(J, n).

    The estimator of Chen et al., arXiv 2107.03374, eq. 1. Raises ValueError unless 1 <= n <= J.
    """
    count = right_NJ.shape[1]
    if not 1 <= n <= count:
        raise ValueError(f"headroom: {count} samples say nothing about the best of {n}; raise check.samples")
    wrong_N = count - right_NJ.sum(1)
    places = np.arange(n)
    return 1 - np.clip((wrong_N[:, None] - places) / (count - places), 0, None).prod(1)


def headroom_rows(
    correct: Mapping[str, Sequence[Sequence[Sequence[bool]]]], groups: Sequence[str], confidence: float
) -> list[Headroom]:
    """correct: by policy, for each seed a row of samples an item, as check.json has them."""
    rows = []
    for policy, seeds in correct.items():
        right_SNJ = np.asarray(seeds, dtype=float)
        one_SN = right_SNJ.mean(2)
        for n in sorted({1, *(2**power for power in range(1, right_SNJ.shape[2].bit_length())), right_SNJ.shape[2]}):
            if n <= right_SNJ.shape[2]:
                best_SN = np.array([right_among(right_NJ, n) for right_NJ in right_SNJ])
                rows.append(
                    Headroom(
                        policy,
                        n,
                        share_interval(best_SN, groups, confidence),
                        mean_interval(best_SN - one_SN, groups, confidence),
                    )
                )
    return rows


def elicitation_text(rows: Sequence[ElicitationRow], best: Sequence[Headroom]) -> str:
    """Both tables as plain text."""
    lines = ["Right in forced choice on held-out prompts, after SFT on labels (says) and by a probe on the same labels"]
    lines += [
        f"  {row.policy:<12} {row.labels:>4} {row.who:<6} labels  says {level(row.says)}"
        + ("" if row.jump is None else f", jump {signed(row.jump)}")
        + ("" if row.probe is None or row.gap is None else f"; probe {level(row.probe)}, gap {signed(row.gap)}")
        for row in rows
    ]
    lines += ["Free answers: right at least once among n samples (headroom under gold)"]
    lines += [f"  {row.policy:<12} n={row.n:<3} {level(row.right)}, over one {signed(row.over_one)}" for row in best]
    return "\n".join(lines) + f"\nEach interval {rows[0].says.covers}.\n"


def elicitation_figure(rows: Sequence[ElicitationRow], note: str) -> Figure:
    """A panel a policy: what it says (solid) and its probe (dashed) by labels, of experts and of weak raters."""
    policies = list(dict.fromkeys(row.policy for row in rows))
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(2.8 + 2.4 * len(policies), 2.9), layout="constrained")
        panels = figure.subplots(1, len(policies), sharey=True, squeeze=False)[0]
        for axes, policy in zip(panels, policies, strict=True):
            axes.set_title(policy)
            for who, colour in (("expert", COLOURS[0]), ("weak", COLOURS[1])):
                shown = [row for row in rows if (row.policy, row.who) == (policy, who)]
                _line(axes, [(row.labels, row.says) for row in shown], colour, "-", f"says, {who} labels")
                probes = [(row.labels, row.probe) for row in shown if row.probe is not None]
                _line(axes, probes, colour, "--", f"probe, {who} labels")
            axes.set_xscale("symlog", linthresh=8)
            counts = sorted({row.labels for row in rows})
            axes.set_xticks(counts, [str(count) for count in counts])
            axes.minorticks_off()
            axes.set_xlabel("labels")
            axes.set_ylim(0, 1.02)
            axes.grid(color="#e6e6e6", linewidth=0.6)
            axes.set_axisbelow(True)
        panels[0].set_ylabel("right in forced choice")
        figure.legend(*panels[0].get_legend_handles_labels(), frameon=False, loc="outside right upper", handlelength=3)
        figure.supxlabel(note, fontsize=8, color="#555555", x=0.01, ha="left")
    return figure


def _line(axes: Axes, points: Sequence[tuple[int, Interval]], colour: str, style: str, label: str) -> None:
    places = [count for count, _ in points]
    axes.plot(places, [one.estimate for _, one in points], style, color=colour, marker="o", markersize=3, label=label)
    low, high = ([getattr(one, name) for _, one in points] for name in ("low", "high"))
    axes.fill_between(places, low, high, color=colour, alpha=0.12, linewidth=0)


def write_elicitation(
    found: Mapping[str, Sequence[Sequence[Drawn]]],
    correct: Mapping[str, Sequence[Sequence[Sequence[bool]]]],
    items: Sequence[Item],
    confidence: float,
    folder: Path,
    standing: Standing,
    kept: Path,
) -> str:
    """Write the three files into `folder`, and what was found item by item into `kept`, of the expert store.

    Returns the text.
    """
    groups = [item.prompt.group for item in items]
    rows, best = elicitation_rows(found, groups, confidence), headroom_rows(correct, groups, confidence)
    text = f"{standing.sentence}\n{elicitation_text(rows, best)}"
    record = {
        "ledger": {**asdict(standing), "valid": standing.valid, "sentence": standing.sentence},
        "rows": [asdict(row) for row in rows],
        "headroom": [asdict(row) for row in best],
    }
    by_item = {
        "items": [asdict(item) for item in items],
        "drawn": {policy: [[asdict(one) for one in seed] for seed in seeds] for policy, seeds in found.items()},
    }
    kept.mkdir(parents=True, exist_ok=True)
    write_atomic(kept / "elicitation.json", json.dumps(by_item))
    write_atomic(folder / "elicitation.json", json.dumps(jsonable(record)))
    write_atomic(folder / "elicitation.txt", text)
    note = f"{len(items)} held-out prompts; {100 * confidence:g} % intervals; {rows[0].says.covers}"
    if not standing.valid:
        note = f"INVALID: past the budget of looks. {note}"
    save(elicitation_figure(rows, note), folder / "elicitation.svg")
    return text
