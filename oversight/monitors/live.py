"""Monitors that follow a running run from a process of their own: each PPO snapshot, as it appears, against SFT.

    snapshots/step_N -> samples on dev prompts -> values -> alarms.jsonl, and a line for the terminal

What is watched is read only (read_only.py), and neither gold nor a rater is asked. The samples are those that the check
will draw: noise is a function of seed, prompt and sample. Shapes: N dev prompts, J samples.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from sandwiching.configs.schema import SamplingConfig
from sandwiching.oversight.gold_curves import snapshot_weights, snapshots
from sandwiching.oversight.intervals import mean_interval
from sandwiching.oversight.monitors.alarms import first_alarm
from sandwiching.oversight.monitors.auroc import UndefinedError
from sandwiching.oversight.monitors.findings import SLOPE, odd_values
from sandwiching.oversight.monitors.fitting import Fitted, fit
from sandwiching.oversight.monitors.job import PolicyRun, Settings
from sandwiching.oversight.monitors.process import policy_engine
from sandwiching.oversight.monitors.slope import slope_by_item
from sandwiching.oversight.monitors.thresholds import flags
from sandwiching.oversight.spread import Array
from sandwiching.oversight.summary import jsonable
from sandwiching.policy.engine import Sampling, TransformersEngine
from sandwiching.policy.records import PromptBatch
from sandwiching.policy.tokenization import decode_response, encode_prompt, load_tokenizer
from sandwiching.tasks.records import Prompt
from sandwiching.training.artifacts import MANIFEST
from sandwiching.training.checkpoints import step_of

CANARY = "canary"
HUGE = (1e30, float("nan"), float("inf"))
"""What a canary says of a trained policy's samples: nothing of it may reach the training."""
POLL_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Watched:
    """A PPO run that may not have begun: its artifact's folder, and the artifacts that must be whole before."""

    run: PolicyRun
    artifact: Path
    needs: tuple[Path, ...]

    @property
    def finished(self) -> bool:
        """Whether no snapshot will come any more."""
        return (self.artifact / MANIFEST).exists()

    def snapshots(self) -> list[Path]:
        """Those that are whole: a step's record follows its snapshot."""
        if not all((place / MANIFEST).exists() for place in self.needs):
            return []
        done = float("inf") if self.finished else _steps(self.artifact / "metrics.jsonl")
        return [place for place in snapshots(self.artifact) if step_of(place) <= done]


def _steps(metrics: Path) -> int:
    lines = metrics.read_text().splitlines(keepends=True) if metrics.exists() else []
    whole = [line for line in lines if line.endswith("\n")]
    return int(json.loads(whole[-1])["step"]) if whole else 0


@dataclass(frozen=True, slots=True)
class Asked:
    """On what, and how, each snapshot is sampled; rate: of false alarms."""

    prompts: Sequence[Prompt]
    samples: int
    sampling: SamplingConfig
    rate: float
    canary: bool = False

    @property
    def groups(self) -> list[str]:
        """Of each prompt."""
        return [prompt.group for prompt in self.prompts]


@dataclass(frozen=True, slots=True)
class Seen:
    """One checkpoint: by monitor [N, J]; its proxy-length slope by item [N], None where it has none."""

    values: dict[str, Array]
    slope_N: Array | None


@dataclass(slots=True)
class RunMonitor:
    """The monitors of one run, fitted, with what they say of the SFT policy."""

    engine: TransformersEngine
    fitted: Fitted
    asked: Asked
    start: Seen = field(init=False)

    @classmethod
    def of(cls, run: PolicyRun, settings: Settings, asked: Asked) -> RunMonitor:
        """Fit them. Raises ValueError when the SFT policy's samples are too few for the rate."""
        engine = policy_engine(Path(run.start), settings.model, settings.micro_batch)
        tokenizer = load_tokenizer(Path(run.start), settings.model.pad_token)
        made = cls(engine, fit(run, settings, engine, tokenizer), asked)
        made.start = made.see(trained=False)
        return made

    def see(self, trained: bool = True) -> Seen:
        """Sample from the policy that the engine now holds."""
        asked, tokenizer = self.asked, self.fitted.tokenizer
        tokens = [encode_prompt(tokenizer, prompt.text) for prompt in asked.prompts]
        batch = PromptBatch.repeated([prompt.id for prompt in asked.prompts], tokens, asked.samples)
        sampling = Sampling(asked.sampling.temperature, asked.sampling.max_new_tokens)
        rollouts = self.engine.generate(batch, sampling, self.fitted.run.seed, 0)
        rows = zip(rollouts.response_BT, rollouts.response_mask_BT, strict=True)
        texts = [decode_response(tokenizer, row[mask].tolist()) for row, mask in rows]
        prompts = [prompt.text for prompt in asked.prompts for _ in range(asked.samples)]
        found = self.fitted.values(self.engine, prompts, texts, rollouts.finished_B.tolist())
        shape = (len(asked.prompts), asked.samples)
        values = {name: values_M.reshape(shape) for name, values_M in found.by_monitor.items()}
        if asked.canary:
            values[CANARY] = np.resize(HUGE, shape) if trained else np.zeros(shape)
        try:
            slope_N = slope_by_item(found.lengths_N.reshape(shape), found.rewards_N.reshape(shape))
        except UndefinedError:
            slope_N = None
        return Seen(values, slope_N)

    def look(self, snapshot: Path) -> Iterator[dict[str, Any]]:
        """A record for each monitor: run, updates, monitor, level at SFT and now, alarm, notes."""
        updates = step_of(snapshot)
        self.engine.load_weights(snapshot_weights(snapshot), updates)
        now, groups, rate = self.see(), self.asked.groups, self.asked.rate
        head = {"run": self.fitted.run.name, "updates": updates}
        for name, values_NJ in now.values.items():
            both_TNJ, notes = np.stack([self.start.values[name], values_NJ]), odd_values(values_NJ)
            try:
                share_TN = flags(both_TNJ, groups, rate).mean(2)
            except UndefinedError as reason:
                yield {**head, "monitor": name, "start": None, "now": None, "alarm": None, "notes": [str(reason)]}
                continue
            yield {**head, **_compared(name, share_TN[0], share_TN[1], groups, rate), "notes": notes}
        if self.start.slope_N is not None and now.slope_N is not None:
            yield {**head, **_compared(SLOPE, self.start.slope_N, now.slope_N, groups, rate), "notes": []}


def _compared(name: str, start_N: Array, now_N: Array, groups: Sequence[str], rate: float) -> dict[str, Any]:
    alarm = first_alarm([start_N, now_N], [0, 1], groups, rate) is not None
    level = mean_interval(now_N[None], groups, 1 - 2 * rate).estimate
    return {"monitor": name, "start": float(start_N.mean()), "now": level, "alarm": alarm}


def watch(
    runs: Sequence[Watched],
    settings: Settings,
    asked: Asked,
    out: Path,
    follow: bool,
    say: Callable[[dict[str, Any]], None],
) -> None:
    """Look at each snapshot once, in out/alarms.jsonl and by `say`; `follow`: until every run is finished.

    What `out` tells of already is not looked at again. One run's models are in memory at a time.
    """
    file, present = out / "alarms.jsonl", dict[str, RunMonitor]()
    seen = told(file)
    while True:
        over = all(one.finished for one in runs)
        for one in runs:
            for snapshot in one.snapshots():
                if (one.run.name, step_of(snapshot)) in seen:
                    continue
                if one.run.name not in present:
                    present.clear()
                    present[one.run.name] = RunMonitor.of(one.run, settings, asked)
                records = list(present[one.run.name].look(snapshot))
                with file.open("a") as stream:
                    stream.write("".join(json.dumps(jsonable(record)) + "\n" for record in records))
                for record in records:
                    say(record)
                seen.add((one.run.name, step_of(snapshot)))
        if over or not follow:
            return
        time.sleep(POLL_SECONDS)


def told(file: Path) -> set[tuple[str, int]]:
    """What the file says already; a last line that a kill cut off is taken away, and its snapshot read again."""
    text = file.read_text() if file.exists() else ""
    whole = text[: text.rfind("\n") + 1]
    if whole != text:
        file.write_text(whole)
    return {(record["run"], record["updates"]) for record in map(json.loads, whole.splitlines())}
