from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PEAK_MEMORY = Path(__file__).with_name("peak_memory.py")


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_step_takes_at_most_512_mib(dtype):
    """Beside plain torch, which holds all logits several times over, on an eighth of the rows."""

    def peak(variant: str, rows: int) -> float:
        command = [sys.executable, PEAK_MEMORY, variant, dtype, str(rows), "576", "49152"]
        return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)

    found = {variant: peak(variant, 8192) for variant in ("linear_logprob", "ppo_linear_loss")}
    plain = peak("plain", 1024)
    print(f"{dtype}: MiB beyond inputs and gradients: {found}, plain torch with 1024 rows of 8192: {plain:.0f}")
    assert max(found.values()) <= 512
    assert plain > 0
