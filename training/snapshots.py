"""Snapshots: what check and monitors read of a policy along its training."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

from sandwiching.policy.records import Rollouts
from sandwiching.training.experience import StepRecord


def write_rollouts(file: Path, rollouts: Rollouts, record: StepRecord) -> None:
    """One JSON row a response: prompt id, sample, token ids of the response, score and KL (nats a sequence)."""
    file.parent.mkdir(parents=True, exist_ok=True)
    rows = []
    for i, prompt_id in enumerate(rollouts.prompt_ids):
        row = {
            "prompt_id": prompt_id,
            "sample": rollouts.sample_index[i],
            "tokens": rollouts.response_BT[i][rollouts.response_mask_BT[i]].tolist(),
            "score": float(record.score_B[i]),
            "kl": float(record.kl_B[i]),
        }
        rows.append(json.dumps(row) + "\n")
    # Without a time stamp: the same rollouts give the same bytes.
    file.write_bytes(gzip.compress("".join(rows).encode(), mtime=0))
