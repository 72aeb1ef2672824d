"""What the conditions of a check are about, gathered from the artifacts that it checked and from its results."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from sandwiching.oversight.conditions import Measured, finite
from sandwiching.oversight.intervals import Interval, mean_interval
from sandwiching.oversight.outcomes import FLOOR, policy_name
from sandwiching.reward_model.reliability.student_t import t_critical
from sandwiching.training.metrics import read_metrics


def kl_by_arm(
    record: Mapping[str, Any], parents: Mapping[str, Path], confidence: float, without: str | None
) -> dict[str, Measured]:
    """KL from the SFT policy (nats a sequence) of each arm that PPO trained; `without` an arm: the ceiling.

    On the check's prompts, exact at each token; where the check asked no policy, that of PPO's last batch.
    """
    if "policies" not in record:
        return _of_last_batches(parents, confidence, without)
    groups = [item["group"] for item in record["items"]]
    found = {}
    for arm in record["arms"]:
        if arm == without:
            continue
        asked = [record["policies"][policy_name(arm, seed)]["kl"] for seed in record["seeds"]]
        one = mean_interval(np.array(asked, dtype=float).mean(2), groups, confidence)
        note = f"exact on {one.items} held-out prompts, {_seeds(one.seeds)}: {one.covers}"
        found[arm] = Measured("KL", one.estimate, finite(one.low), finite(one.high), note)
    return found


def _of_last_batches(parents: Mapping[str, Path], confidence: float, without: str | None) -> dict[str, Measured]:
    """By arm, the mean over seeds with a t interval. The batch was sampled before the last update."""
    values: dict[str, list[float]] = defaultdict(list)
    for name, path in parents.items():
        stage, _, place = name.partition("/")
        arm = place.rpartition("/")[0]
        records = read_metrics(path / "metrics.jsonl") if stage == "ppo" and arm != without else []
        if records:
            values[arm].append(float(records[-1].get("ppo/kl_exact", records[-1]["ppo/kl"])))
    found = {}
    for arm, seen in values.items():
        note = f"PPO's last batch, {_seeds(len(seen))}"
        if len(seen) < 2:
            found[arm] = Measured("KL", seen[0], note=f"{note}: no interval over training runs")
            continue
        half = t_critical(confidence, len(seen) - 1) * float(np.std(seen, ddof=1)) / len(seen) ** 0.5
        mean = float(np.mean(seen))
        found[arm] = Measured("KL", mean, mean - half, mean + half, note)
    return found


def _seeds(count: int) -> str:
    return f"{count} seed{'s' * (count > 1)}"


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
