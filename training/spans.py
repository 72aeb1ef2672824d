"""When each role of a PPO step worked: spans, and what a profile makes of them."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter
from typing import Any


@dataclass(frozen=True, slots=True)
class Span:
    """One call of a role; seconds of perf_counter."""

    role: str
    name: str
    start: float
    end: float


class Spans:
    """The calls of late, from any thread."""

    def __init__(self) -> None:
        self.recorded: list[Span] = []
        self.lock = threading.Lock()

    @contextmanager
    def span(self, role: str, name: str) -> Iterator[None]:
        """The time inside belongs to the role."""
        start = perf_counter()
        try:
            yield
        finally:
            with self.lock:
                self.recorded.append(Span(role, name, start, perf_counter()))

    def forget(self, before: float) -> None:
        """Drop what had ended by then."""
        with self.lock:
            self.recorded = [span for span in self.recorded if span.end > before]

    def within(self, start: float, end: float) -> list[Span]:
        """What fell into start .. end, cut to it."""
        with self.lock:
            spans = [Span(s.role, s.name, max(s.start, start), min(s.end, end)) for s in self.recorded]
        return [span for span in spans if span.start < span.end]


def chrome_trace(spans: Sequence[Span], start: float) -> dict[str, Any]:
    """For chrome://tracing or Perfetto: one row a role, microseconds since `start`."""
    rows = {role: i for i, role in enumerate(sorted({span.role for span in spans}))}
    names = [
        {"ph": "M", "name": "thread_name", "pid": 0, "tid": row, "args": {"name": role}} for role, row in rows.items()
    ]
    events = [
        {
            "ph": "X",
            "name": span.name,
            "pid": 0,
            "tid": rows[span.role],
            "ts": round(1e6 * (span.start - start), 1),
            "dur": round(1e6 * (span.end - span.start), 1),
        }
        for span in spans
    ]
    return {"traceEvents": [*names, *events], "displayTimeUnit": "ms"}


def busy_seconds(spans: Sequence[Span]) -> Mapping[str, float]:
    """Seconds that each role worked: the union of its spans."""
    result: dict[str, float] = {}
    ends: dict[str, float] = {}
    for span in sorted(spans, key=lambda s: s.start):
        begin = max(span.start, ends.get(span.role, span.start))
        if span.end > begin:
            result[span.role] = result.get(span.role, 0.0) + span.end - begin
            ends[span.role] = span.end
    return result
