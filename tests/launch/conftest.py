"""The command line in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

SANDWICH = Path(sys.executable).parent / "sandwich"


@pytest.fixture
def sandwich() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs `sandwich ARGUMENTS` in a folder, on a machine without GPUs."""

    def run(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "COLUMNS": "200"}
        environment.pop("RAY_ADDRESS", None)
        return subprocess.run(
            [str(SANDWICH), *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False
        )

    return run
