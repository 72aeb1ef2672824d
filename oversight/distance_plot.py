"""Over-optimisation as a picture: gain of proxy and gold over the floor by sqrt(KL), along PPO and for best-of-n."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sandwiching.oversight.best_of_n import BestOfN
from sandwiching.oversight.over_optimisation import GaoFit, basis
from sandwiching.oversight.spread import Array
from sandwiching.oversight.trails import Trail
from sandwiching.training.figures import COLOURS, MARKERS, STYLE

PANELS = ("proxy", "gold, forced", "gold, free")
CURVE = 100
"""Points of a fitted line."""


def distance_figure(
    trails: Mapping[str, Trail],
    best_of_n: Mapping[str, Sequence[BestOfN]],
    fits: Mapping[str, Mapping[str, GaoFit]],
) -> Figure:
    """A panel a measure. Marks: snapshots, mean over seeds and prompts; hollow: best-of-n at the bound on its KL, of
    the proxy and of free answers; lines: Gao et al.'s forms."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(7, 2.9), layout="constrained")
        panels = list(figure.subplots(1, len(PANELS)))
        for place, (arm, trail) in enumerate(trails.items()):
            colour, marker = COLOURS[place % len(COLOURS)], MARKERS[place % len(MARKERS)]
            values = dict(zip(PANELS, (trail.reward_STN, trail.forced_STN, 1 - trail.wrong_STN), strict=True))
            for axes, name in zip(panels, PANELS, strict=True):
                gain_T = (values[name] - values[name][:, :1]).mean((0, 2))
                _points(axes, trail.distance_ST.mean(0), gain_T, colour, marker, arm)
                _line(axes, fits[arm].get(f"PPO, {name}"), colour, "-")
                _line(axes, fits[arm].get(f"best of n, {name}"), colour, ":")
            rows = best_of_n[arm]
            reach_T = np.sqrt([row.kl_bound for row in rows])
            for axes, gains in ((panels[0], "gain_score"), (panels[2], "gain_free")):
                gain_T = np.array([getattr(row, gains).estimate for row in rows])
                axes.plot(reach_T, gain_T, marker=marker, markersize=4, color=colour, mfc="none", linestyle="none")
        for axes, name in zip(panels, PANELS, strict=True):
            axes.set_title(name)
            axes.set_xlabel("sqrt(KL), nats")
            axes.axhline(0, color="#999999", linewidth=0.8)
            axes.grid(color="#e6e6e6", linewidth=0.6)
            axes.set_axisbelow(True)
        panels[0].set_ylabel("gain over the floor")
        panels[0].legend(frameon=False, fontsize=8)
    return figure


def _points(axes: Axes, reach_T: Array, gain_T: Array, colour: str, marker: str, label: str) -> None:
    axes.plot(reach_T, gain_T, color=colour, marker=marker, markersize=4, linestyle="none", label=label)


def _line(axes: Axes, fit: GaoFit | None, colour: str, style: str) -> None:
    if fit is not None:
        reach = np.linspace(0, fit.furthest, CURVE)
        height = basis(reach, fit.form) @ np.array([fit.a.estimate, fit.b.estimate])
        axes.plot(reach, height, color=colour, linestyle=style, linewidth=1.2)
