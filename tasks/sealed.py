"""What training must not see: gold, and what experts said of held-out prompts.

While a training stage is at work in a process nothing of it can be opened there. The layering test keeps training from
importing it; this keeps it from being reached by any other way within the process.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

_AT_WORK: list[str] = []


class Sealed(RuntimeError):
    """A training stage tried to open what only oversight may."""


@contextmanager
def training(stage: str) -> Iterator[None]:
    """`stage`, a function's dotted name, trains meanwhile: in any thread of this process."""
    _AT_WORK.append(stage)
    try:
        yield
    finally:
        _AT_WORK.remove(stage)


def refuse_training(what: str) -> None:
    """Raise Sealed while a training stage is at work."""
    if _AT_WORK:
        raise Sealed(
            f"{_AT_WORK[-1]} tried to open {what}: what checks the training must not enter it; "
            "only stages of sandwiching.oversight open it"
        )
