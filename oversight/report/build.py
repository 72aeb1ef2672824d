"""Records and one page of some runs. Torch-free."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sandwiching.oversight.report.gather import Gathered
from sandwiching.oversight.report.page import html, run_page
from sandwiching.oversight.report.record import report_record
from sandwiching.oversight.summary import jsonable


def reported(runs: Sequence[Gathered]) -> tuple[list[dict[str, Any]], str]:
    """The records of some runs, and one page of them all."""
    records = [jsonable(report_record(one)) for one in runs]
    pages = [run_page(one, record, f"r{place}") for place, (one, record) in enumerate(zip(runs, records, strict=True))]
    title = (
        f"{runs[0].run}: is it doing its best?" if len(runs) == 1 else f"{len(runs)} runs: are they doing their best?"
    )
    return records, html(pages, records, title)
