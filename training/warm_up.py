"""Builds DeepSpeed's communication op once, so that no run waits for a compiler.

python -m sandwiching.training.warm_up
"""

from __future__ import annotations

import shutil
import time
from pathlib import Path

from torch.utils.cpp_extension import get_default_build_root

from sandwiching.training.distributed import init_process_group

BUILD_SECONDS = 300
"""Longer than a build takes."""


def remove_stale_locks() -> None:
    """A build that was killed leaves a lock on which every later start would wait for ever; a young one is at work."""
    root = Path(get_default_build_root())
    for lock in root.glob("*/*/lock") if root.exists() else ():
        if time.time() - lock.stat().st_mtime > BUILD_SECONDS:
            shutil.rmtree(lock.parent)


if __name__ == "__main__":
    remove_stale_locks()
    init_process_group()
