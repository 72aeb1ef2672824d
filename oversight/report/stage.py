"""The report as a stage: the page and report.json of a run's check, and of its monitors if it has some.

check, monitor, and all they were made from -> report.json, report.html

sandwich run CONFIG --only report
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from sandwiching.configs.schema import ResourcesConfig
from sandwiching.oversight.declaration import FILE, declared_in
from sandwiching.oversight.report.gather import Gathered, gather
from sandwiching.oversight.report.page import html, run_page
from sandwiching.oversight.report.record import report_record
from sandwiching.oversight.summary import jsonable
from sandwiching.training.artifacts import StageFolder, write_atomic
from sandwiching.training.roles import Roles

JSON_FILE, HTML_FILE = "report.json", "report.html"


def report(
    *, resources: ResourcesConfig, parents: Mapping[str, Path], folder: StageFolder, roles: Roles
) -> dict[str, float]:
    """Write report.json and report.html. Parents: check, and monitor where the run has one. Returns no metrics."""
    check = parents["check"]
    run = declared_in(check).run if (check / FILE).exists() else check.name
    records, page = reported([gather(run, check, parents.get("monitor"))])
    folder.check_attempt()
    write_atomic(folder.path / JSON_FILE, json.dumps(records[0]))
    write_atomic(folder.path / HTML_FILE, page)
    return {}


def reported(runs: Sequence[Gathered]) -> tuple[list[dict], str]:
    """The records of some runs, and one page of them all."""
    records = [jsonable(report_record(one)) for one in runs]
    pages = [run_page(one, record, f"r{place}") for place, (one, record) in enumerate(zip(runs, records, strict=True))]
    title = f"{runs[0].run}: is it doing its best?" if len(runs) == 1 else f"{len(runs)} runs: are they doing their best?"
    return records, html(pages, records, title)
