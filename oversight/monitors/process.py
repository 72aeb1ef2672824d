"""The process that scores: it reads checkpoints and nothing else, and is told by one JSON file what to read.

python -P -m sandwiching.oversight.monitors.process JOB.json
"""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sandwiching.configs.schema import ModelConfig, ResourcesConfig
from sandwiching.oversight.gold_curves import snapshot_weights
from sandwiching.oversight.monitors.fitting import fit
from sandwiching.oversight.monitors.job import Answered, Job, PolicyRun, Settings
from sandwiching.oversight.monitors.read_only import forbid_writing
from sandwiching.oversight.monitors.reading import load_policy
from sandwiching.oversight.monitors.spawn import PROGRESS, result_name
from sandwiching.policy.engine import TransformersEngine
from sandwiching.policy.tokenization import load_tokenizer
from sandwiching.tasks.records import Text
from sandwiching.training.artifacts import write_atomic
from sandwiching.training.devices import use_threads
from sandwiching.training.engines import transformers_engine
from sandwiching.training.roles import EngineSpec

SMALL_BYTES = 50_000_000
"""Of weights, see threads_for."""


def score(job: Job) -> None:
    """Score every run that has no file yet in job.out: {"values": {monitor: [T][N][J]}, "lengths", "rewards",
    "absent"}."""
    out = Path(job.out)
    for done, (run, points) in enumerate(job.runs):
        write_atomic(out / PROGRESS, str(done))
        file = out / result_name(run.name)
        if not file.exists():
            write_atomic(file, json.dumps(scored(run, points, job.prompts, job.settings)))


def scored(run: PolicyRun, points: Sequence[Answered], prompts: Sequence[Text], settings: Settings) -> dict[str, Any]:
    """One run, see score."""
    start, engine = Path(run.start), policy_engine(Path(run.start), settings.model, settings.micro_batch)
    fitted = fit(run, settings, engine, load_tokenizer(start, settings.model.pad_token))
    found: dict[str, Any] = {"values": {}, "lengths": [], "rewards": [], "absent": dict(fitted.absent)}
    for point in points:
        weights = None if point.weights is None else snapshot_weights(Path(point.weights))
        load_policy(engine, weights, start, point.updates)
        samples = len(point.responses[0])
        values = fitted.values(
            engine,
            [prompt for prompt in prompts for _ in range(samples)],
            [response for row in point.responses for response in row],
            [ended for row in point.finished for ended in row],
        )
        for name, values_M in values.by_monitor.items():
            found["values"].setdefault(name, []).append(values_M.reshape(-1, samples).tolist())
        found["lengths"].append(values.lengths_N.reshape(-1, samples).tolist())
        found["rewards"].append(values.rewards_N.reshape(-1, samples).tolist())
    return found


def policy_engine(start: Path, model: ModelConfig, batch: int) -> TransformersEngine:
    """An engine of this process, for the model in `start`."""
    spec = EngineSpec(start, model, adapters=model.lora is not None)
    return transformers_engine(spec, ResourcesConfig(rollout_batch=batch), lambda: None)


def threads_for(model: Path, most: int) -> int:
    """Threads that read a model: one where it is so small that several would only wait for each other, and for whatever
    else works on this machine."""
    size = sum(file.stat().st_size for file in model.glob("*.safetensors"))
    return 1 if size < SMALL_BYTES else most


def end_with_parent() -> None:
    """This process ends when who started it does: its standard input closes then."""

    def wait() -> None:
        # Not sys.stdin, whose lock would be held while the interpreter ends.
        while os.read(0, 1):
            pass
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def main(file: str) -> None:
    """Score the job in `file`."""
    job = Job.read(Path(file))
    forbid_writing(Path(folder) for folder in job.watched)
    use_threads(threads_for(Path(job.runs[0][0].start), job.settings.threads))
    score(job)


if __name__ == "__main__":
    end_with_parent()
    main(sys.argv[1])
