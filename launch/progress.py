"""One live view of all stages, read from their folders: it works the same for this process and for a cluster."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from sandwiching.training.metrics import read_metrics

SHOWN = ("ppo/score", "ppo/kl", "reward_model/loss", "reward_model/accuracy", "sft/loss")
POLL_SECONDS = 0.5


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
            bar, _ = self.bars.pop(name)
            elapsed = self.progress.tasks[self.progress.task_ids.index(bar)].elapsed or 0.0
            self.progress.remove_task(bar)
            self.say(f"[green]done[/]     {name}  [dim]{elapsed:.0f} s[/]")
        elif skipped:
            self.say(f"[dim]finished before  {name}[/]")

    def say(self, text: str) -> None:
        """A line for the user."""
        self.console.print(text)

    def _poll(self) -> None:
        while not self.stopping.wait(POLL_SECONDS):
            for bar, folder in list(self.bars.values()):
                self._refresh(bar, folder)

    def _refresh(self, bar: TaskID, folder: Path) -> None:
        file = folder / "progress.json"
        if not file.exists():
            return
        state = json.loads(file.read_text())
        records = read_metrics(folder / "metrics.jsonl")
        last = records[-1] if records else {}
        metrics = "  ".join(f"{name} {last[name]:.3g}" for name in SHOWN if name in last)
        self.progress.update(bar, completed=state["step"], total=state["total"], metrics=metrics)
