"""Optuna's own plots of a sweep, as SVG."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("agg")  # labels are placed by a renderer, which its svg backend has not

import optuna
from matplotlib import pyplot
from matplotlib.ticker import MaxNLocator, NullFormatter
from optuna.exceptions import ExperimentalWarning
from optuna.visualization import matplotlib as drawn

from sandwiching.configs.schema import SweepConfig
from sandwiching.configs.sweep_block import parse_space
from sandwiching.launch.sweep.study import as_study
from sandwiching.launch.sweep.trials import TrialRecord

Draw = Callable[..., Any]
HEIGHT = 4.8
"""Inches."""
PLOTS: dict[str, Draw] = {
    "history": drawn.plot_optimization_history,
    "slice": drawn.plot_slice,
    "parallel_coordinate": drawn.plot_parallel_coordinate,
    "importances": drawn.plot_param_importances,
    "steps": drawn.plot_intermediate_values,
}


def write_plots(records: Sequence[TrialRecord], sweep: SweepConfig, folder: Path) -> tuple[list[Path], list[str]]:
    """Write what Optuna can draw of these trials. Returns the files, and a line for each plot that there is not."""
    study = as_study(records, sweep)
    folder.mkdir(parents=True, exist_ok=True)
    files, notes = [], []
    for name, draw in PLOTS.items():
        reason = undrawable(name, study)
        if reason is not None:
            notes.append(f"no plot of {name}: {reason}")
            continue
        file = folder / f"{name}.svg"
        _draw(draw, name, study, sweep, file)
        files.append(file)
    return files, notes


def undrawable(name: str, study: optuna.Study) -> str | None:
    """Why a plot is not defined for these trials."""
    complete = study.get_trials(deepcopy=False, states=[optuna.trial.TrialState.COMPLETE])
    if name == "steps":
        has = any(trial.intermediate_values for trial in study.get_trials(deepcopy=False))
        return None if has else "the metric is known at the end of a trial only"
    if not complete:
        return "no trial is finished"
    if name == "importances":
        if len(complete) < 2:
            return "one finished trial says nothing of what matters"
        if len({trial.value for trial in complete}) == 1:
            return "all finished trials are equal"
    return None


def _draw(draw: Draw, name: str, study: optuna.Study, sweep: SweepConfig, file: Path) -> None:
    options = {} if name == "steps" else {"target_name": sweep.metric}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        # One trial alone has axes of no width.
        warnings.filterwarnings("ignore", "Attempting to set identical low and high")
        draw(study, **options)
    figure = pyplot.gcf()
    figure.set_size_inches(width_of(name, len(parse_space(sweep.space))), HEIGHT)
    for axes in figure.axes:
        for axis, scale in ((axes.xaxis, axes.get_xscale()), (axes.yaxis, axes.get_yscale())):
            if scale == "log":
                axis.set_minor_formatter(NullFormatter())
    if name == "history":
        figure.axes[0].xaxis.set_major_locator(MaxNLocator(integer=True))
    if name == "steps":
        figure.axes[0].set_xlabel("PPO step" if sweep.metric.startswith("ppo/") else "step")
        figure.axes[0].set_ylabel(sweep.metric)
        figure.axes[0].xaxis.set_major_locator(MaxNLocator(integer=True))
    figure.savefig(file, bbox_inches="tight")
    pyplot.close(figure)


def width_of(name: str, params: int) -> float:
    """Inches: Optuna's own labels overlap where each param has a part of the plot."""
    if name == "slice":
        return 1.5 + 3.2 * params
    return 4.0 + 2.2 * params if name == "parallel_coordinate" else 8.0
