"""Builds DeepSpeed's communication op once, so that no run waits for a compiler.

python -m sandwiching.training.warm_up
"""

from __future__ import annotations

import shutil
from pathlib import Path

from torch.utils.cpp_extension import get_default_build_root

from sandwiching.training.distributed import init_process_group


def remove_stale_locks() -> None:
    """A build that was killed leaves a lock file on which every later start would wait for ever."""
    root = Path(get_default_build_root())
    for lock in root.glob("*/*/lock") if root.exists() else ():
        shutil.rmtree(lock.parent)


if __name__ == "__main__":
    remove_stale_locks()
    init_process_group()
