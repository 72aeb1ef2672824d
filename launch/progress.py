"""One live view of all stages, read from their folders: it works the same for this process and for a cluster.

Where the output is no terminal (a SLURM log), a plain line now and then stands for the bars.
"""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from sandwiching.training.artifacts import read_manifest
from sandwiching.training.metrics import read_metrics

SHOWN = ("ppo/score", "ppo/kl", "reward_model/loss", "reward_model/accuracy", "sft/loss")
POLL_SECONDS = 0.5
LINE_SECONDS = 30.0
"""Between two lines about a stage that moves on, where the output is no terminal."""


class ProgressView:
    """Bars for the stages at work; finished and skipped ones become plain lines above them."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("[dim]{task.fields[metrics]}"),
            console=console,
            transient=True,
        )
        self.bars: dict[str, tuple[TaskID, Path]] = {}
        self.lines: dict[str, tuple[float, str]] = {}
        self.stopping = threading.Event()
        self.poller = threading.Thread(target=self._poll, daemon=True)

    def __enter__(self) -> ProgressView:
        self.progress.start()
        self.poller.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stopping.set()
        self.poller.join()
        self.progress.stop()

    def watch(self, folders: dict[str, Path]) -> None:
        """These stages are at work now."""
        for name, folder in folders.items():
            self.bars[name] = (self.progress.add_task(name, total=None, metrics=""), folder)

    def done(self, name: str, skipped: bool) -> None:
        """The stage's artifact is complete."""
        if name in self.bars:
            bar, folder = self.bars.pop(name)
            self.progress.remove_task(bar)
            self.say(f"[green]done[/]     {name}  [dim]{read_manifest(folder).seconds:.0f} s[/]")
        elif skipped:
            self.say(f"[dim]finished before  {name}[/]")

    def say(self, text: str) -> None:
        """A line for the user."""
        self.console.print(text)

    def _poll(self) -> None:
        while not self.stopping.wait(POLL_SECONDS):
            for name, (bar, folder) in list(self.bars.items()):
                self._refresh(name, bar, folder)

    def _refresh(self, name: str, bar: TaskID, folder: Path) -> None:
        file = folder / "progress.json"
        if not file.exists():
            return
        state = json.loads(file.read_text())
        records = read_metrics(folder / "metrics.jsonl")
        last = records[-1] if records else {}
        metrics = "  ".join(f"{name} {last[name]:.3g}" for name in SHOWN if last.get(name) is not None)
        self.progress.update(bar, completed=state["step"], total=state["total"], metrics=metrics)
        if not self.console.is_terminal:
            self._line(name, f"{state['step']}/{state['total']}  {metrics}".rstrip())

    def _line(self, name: str, state: str) -> None:
        """Say where a stage is, unless nothing has changed or it was said just now."""
        said, before = self.lines.get(name, (-LINE_SECONDS, ""))
        now = time.monotonic()
        if state != before and now - said >= LINE_SECONDS:
            self.lines[name] = (now, state)
            self.say(f"at work  {name}  {state}")
