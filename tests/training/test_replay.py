"""Five recorded steps of PPO, updated again with and without our kernels."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForSequenceClassification

from sandwiching.kernels.backends import ENVIRONMENT, has_triton

WORKER = Path(__file__).with_name("replay_worker.py")


@pytest.mark.parametrize("trained", ["full", "lora"])
def test_recorded_steps_are_the_same_with_kernels_on_and_off(tiny: Path, tmp_path: Path, trained: str):
    torch.manual_seed(0)
    model = AutoModelForSequenceClassification.from_pretrained(tiny, num_labels=1)
    torch.nn.init.normal_(model.score.weight)
    model.config.update({"reward_mean": 0.0, "reward_std": 1.0, "pad_token_id": 0})
    model.save_pretrained(tmp_path / "reward" / "model")
    done = subprocess.run(
        [sys.executable, str(WORKER), str(tiny), str(tmp_path / "reward"), str(tmp_path / "ppo"), trained],
        env={
            **{k: v for k, v in os.environ.items() if k != ENVIRONMENT},
            "DS_ACCELERATOR": "cpu",
            "OMP_NUM_THREADS": "1",
            "TRITON_INTERPRET": "1",
        },
        capture_output=True,
        text=True,
        timeout=400,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    results = [json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"backend"')]
    assert [result["backend"] for result in results] == ["torch", *(["triton"] if has_triton() else [])]
    for result in results:
        assert result["loss"] <= 1e-4, result
        assert result["gradients"] <= 1e-3, result
        assert result["weights"] <= 1e-3, result
