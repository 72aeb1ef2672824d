"""The curve of accuracy by labels as a picture: a panel a tier, thin lines are seeds, thick ones their mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib as mpl
from matplotlib.figure import Figure

from sandwiching.oversight.label_lines import Line
from sandwiching.oversight.plots import COLOURS, MARKERS, STYLE

CHOICES = ("uniform", "variance")


def label_figure(
    lines: Mapping[str, Line], seeds: Mapping[str, Sequence[Sequence[float]]], verdicts: Sequence[str], note: str
) -> Figure:
    """seeds: accuracy of each seed and round, by arm; verdicts: what is said under the panels."""
    tiers = list(dict.fromkeys(line.tier for line in lines.values()))
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(7, 3.4 + 0.16 * len(verdicts)), layout="constrained")
        panels = figure.subplots(1, len(tiers), squeeze=False)[0]
        for axes, tier in zip(panels, tiers, strict=True):
            axes.set_title(f"Labels of {tier} raters")
            for name, line in lines.items():
                if line.tier != tier:
                    continue
                place = CHOICES.index(line.choose)
                colour, shift = COLOURS[place], (place - 0.5) * 0.02 * line.labels[-1]
                for one in seeds[name]:
                    axes.plot(line.labels, one, color=colour, linewidth=0.7, alpha=0.35)
                levels = [one.estimate for one in line.accuracy]
                # Intervals stand beside each other, or one would hide the other.
                axes.errorbar(
                    [at + shift for at in line.labels],
                    levels,
                    yerr=[
                        [one.estimate - one.low for one in line.accuracy],
                        [one.high - one.estimate for one in line.accuracy],
                    ],
                    color=colour,
                    marker=MARKERS[place],
                    markersize=4,
                    linewidth=1.8,
                    elinewidth=0.9,
                    label=name,
                )
            axes.set_xlabel("labels")
            axes.grid(color="#e6e6e6", linewidth=0.6)
            axes.set_axisbelow(True)
            axes.legend(frameon=False, fontsize=8)
        panels[0].set_ylabel("right against gold")
        figure.supxlabel("\n".join([*verdicts, note]), fontsize=8, color="#555555", x=0.01, ha="left")
    return figure
