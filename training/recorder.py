"""Callbacks of the Hugging Face trainers: metrics.jsonl, whoever wants to watch, an early end that loses nothing."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from sandwiching.training import distributed
from sandwiching.training.artifacts import StageFolder
from sandwiching.training.metrics import MetricsLog, read_metrics
from sandwiching.training.saving import Saver

Observer = Callable[[str, int, int, Mapping[str, float]], None]
"""Called as observer(stage, step, total steps, metrics of the step)."""


def no_observer(stage: str, step: int, total: int, metrics: Mapping[str, float]) -> None:
    """Watches nothing."""


class StepRecorder(TrainerCallback):
    """Writes metrics.jsonl on rank 0, and tells the observer. more: what else took time since the last."""

    def __init__(
        self, stage: str, folder: StageFolder, observer: Observer, more: Callable[[], dict[str, float]]
    ) -> None:
        self.stage = stage
        self.more = more
        self.folder = folder
        self.log = MetricsLog(folder.metrics)
        self.observer = observer
        self.started = time.monotonic()
        self.last: dict[str, float] = {}

    def recorded(self) -> dict[str, float]:
        """The metrics of the last step, also where an earlier attempt made it."""
        if self.last or not self.folder.metrics.exists():
            return self.last
        last = read_metrics(self.folder.metrics)[-1]
        return {name: value for name, value in last.items() if name != "step" and not name.startswith("time/")}

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Start the clock of an optimiser step."""
        self.started = time.monotonic()

    def on_log(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """One record an optimiser step; the summary at the end of the training has no `loss` and is left out."""
        logs: dict[str, float] = kwargs["logs"]
        if "loss" not in logs or not state.is_world_process_zero:
            return
        names = {"loss": "loss", "grad_norm": "gradient_norm", "learning_rate": "learning_rate"}
        metrics = {f"{self.stage}/{ours}": float(logs[theirs]) for theirs, ours in names.items() if theirs in logs}
        extra = {key: value for key, value in logs.items() if key.startswith(f"{self.stage}/")}
        self.last = metrics | extra
        self.folder.check_attempt()
        seconds = {"time/step_seconds": time.monotonic() - self.started, **self.more()}
        self.log.write({"step": state.global_step, **self.last, **seconds})
        self.folder.report(state.global_step, state.max_steps)
        self.observer(self.stage, state.global_step, state.max_steps, self.last)


class Stopper(TrainerCallback):
    """Where the folder asks to stop, all ranks save after the same step and end. asked: whether they did."""

    def __init__(self, folder: StageFolder) -> None:
        self.folder = folder
        self.asked = False

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Rank 0 looks; a file system may show the others something else."""
        ends = state.global_step >= state.max_steps
        seen = state.is_world_process_zero and not ends and self.folder.asked_to_stop()
        self.asked = bool(distributed.all_sum(torch.tensor(float(seen))))
        if self.asked:
            control.should_save = control.should_training_stop = True


class Sealer(TrainerCallback):
    """Seals checkpoints whose files have been written meanwhile."""

    def __init__(self, saver: Saver) -> None:
        self.saver = saver

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """On every rank."""
        self.saver.look()
