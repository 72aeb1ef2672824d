"""Builds DeepSpeed's communication op once, so that no run waits for a compiler.

python -m sandwiching.training.warm_up
"""

from __future__ import annotations

from sandwiching.training.distributed import init_process_group

if __name__ == "__main__":
    init_process_group()
