import os
import subprocess
import sys
from pathlib import Path

import pytest

WORKER = Path(__file__).parent / "zero3_worker.py"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("precision", "trained"), [("fp32", "full"), ("fp32", "lora"), ("bf16", "full"), ("bf16", "lora")]
)
def test_sharded_logprobs_and_gradients_are_those_of_the_whole_model(tiny: Path, precision: str, trained: str):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(WORKER)]
    result = subprocess.run(
        [*command, str(tiny), precision, trained],
        env={**os.environ, "DS_ACCELERATOR": "cpu", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert result.returncode == 0, result.stdout + result.stderr
