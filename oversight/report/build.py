"""Records and one page of some runs. Torch-free."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sandwiching.oversight.report.gather import Gathered
from sandwiching.oversight.report.page import html
from sandwiching.oversight.report.record import VERSION, report_record
from sandwiching.oversight.report.sections import run_page
from sandwiching.oversight.summary import jsonable


def reported(runs: Sequence[Gathered], notes: Sequence[str] = ()) -> tuple[dict[str, Any], str]:
    """report.json (docs/report.md) and the page, of one run or of several. notes: of runs that are not among them."""
    records = [jsonable(report_record(one)) for one in runs]
    pages = [run_page(one, record, f"r{place}") for place, (one, record) in enumerate(zip(runs, records, strict=True))]
    title = runs[0].run if len(runs) == 1 else f"{len(runs)} runs"
    whole = records[0] if len(records) == 1 else {"version": VERSION, "runs": records}
    return ({**whole, "notes": list(notes)} if notes else whole), html(pages, records, title, notes)
