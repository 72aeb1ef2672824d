"""What the conditions of a check are about, gathered from the artifacts that it checked and from its results."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sandwiching.oversight.intervals import Interval, mean_interval
from sandwiching.oversight.outcomes import FLOOR, policy_name
from sandwiching.training.artifacts import MANIFEST, Manifest, read_manifest
from sandwiching.training.lineage import of_stage
from sandwiching.training.metrics import read_metrics


def kl_by_arm(parents: Mapping[str, Path], without: str | None) -> dict[str, list[float]]:
    """KL (nats a sequence) of each PPO run's last batch, by arm, a value a seed; `without` an arm: the ceiling.

    Exact where the run measured it, else the estimate. The batch was sampled before the last update.
    """
    found: dict[str, list[float]] = defaultdict(list)
    for name, path in parents.items():
        stage, _, place = name.partition("/")
        arm = place.rpartition("/")[0]
        records = read_metrics(path / "metrics.jsonl") if stage == "ppo" and arm != without else []
        if records:
            last = records[-1]
            found[arm].append(float(last.get("ppo/kl_exact", last["ppo/kl"])))
    return dict(found)


def parameters(model: Path) -> int | None:
    """Numbers in the safetensors of a model's folder, from their headers; None where there are none."""
    files = sorted(model.glob("*.safetensors"))
    return sum(_numbers(file) for file in files) if files else None


def _numbers(file: Path) -> int:
    """The format: 8 bytes of length, little endian, then JSON of name -> dtype, shape, offsets."""
    with file.open("rb") as stream:
        header = json.loads(stream.read(int.from_bytes(stream.read(8), "little")))
    return sum(int(np.prod(one["shape"])) for name, one in header.items() if name != "__metadata__")


def policy_parameters(parents: Mapping[str, Path]) -> int | None:
    """Of the first policy that is checked, else of the first reward model."""
    for stage in ("ppo/", "reward_model/"):
        for name, path in parents.items():
            if name.startswith(stage) and (found := parameters(path / "model")) is not None:
                return found
    return None


def held_out_loss(record: Mapping[str, Any], confidence: float) -> Interval | None:
    """Negative log-probability of the right candidate under the floor; None where no policy was asked."""
    if "policies" not in record:
        return None
    floors = [record["policies"][policy_name(FLOOR, seed)]["logprobs"] for seed in record["seeds"]]
    losses_SN = np.array([[-row[0] for row in floor] for floor in floors])
    return mean_interval(losses_SN, [item["group"] for item in record["items"]], confidence)


def gates(found: Mapping[Path, Manifest], artifacts: Path) -> list[dict[str, Any]]:
    """gate.json of each gate that was asked about judgements among `found`."""
    keys = {found[path].key for path in of_stage(dict(found), "judgements")}
    reports = []
    for file in sorted(artifacts.glob(f"gate-*/{MANIFEST}")):
        if keys & set(read_manifest(file.parent).parents.values()):
            reports.append(json.loads((file.parent / "gate.json").read_text()))
    return reports


def halves_of(reports: Iterable[Mapping[str, Any]]) -> list[tuple[float, float, float]]:
    """Split-half agreement with its interval, of the gates that have one."""
    halves: Sequence[Any] = [one["split_half"] for one in reports if one["split_half"] is not None]
    return [(half["agreement"], half["low"], half["high"]) for half in halves]
