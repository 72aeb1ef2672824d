"""DeepSpeed checkpoints of another layout (number of ranks, ZeRO stage), through DeepSpeed's universal format."""

from __future__ import annotations

import logging
import shutil
from argparse import Namespace
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from sys import stderr

from deepspeed.checkpoint import ds_to_universal

from sandwiching.training import distributed

log = logging.getLogger(__name__)


@contextmanager
def universal(checkpoint: Path, parts: Sequence[str], scratch: Path) -> Iterator[Path]:
    """A folder with the universal form of the DeepSpeed checkpoints `parts` of `checkpoint`, while inside.

    Rank 0 makes and removes it; all ranks must call. scratch: not there yet, and shared by all ranks.
    """
    if distributed.rank() == 0:
        shutil.rmtree(scratch, ignore_errors=True)
        for part in parts:
            (scratch / part).parent.mkdir(parents=True, exist_ok=True)
            _convert(checkpoint / part, scratch / part)
    distributed.barrier()
    try:
        yield scratch
    finally:
        distributed.barrier()
        if distributed.rank() == 0:
            shutil.rmtree(scratch)


def _convert(source: Path, target: Path) -> None:
    with redirect_stdout(stderr):
        ds_to_universal.main(
            Namespace(
                input_folder=str(source),
                output_folder=str(target),
                num_extract_workers=1,
                num_merge_workers=1,
                keep_temp_folder=False,
                strict=True,
                # Ours names no patterns of other frameworks' parameters.
                inject_missing_state=True,
            )
        )
