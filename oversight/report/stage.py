"""The report as a stage: the page and report.json of a run's check, and of its monitors if it has some.

check, monitor, and all they were made from -> report.json, report.html

sandwich run CONFIG --only report
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from sandwiching.configs.schema import CheckConfig, ResourcesConfig
from sandwiching.oversight.declaration import FILE, declared_in
from sandwiching.oversight.expert_store import place_of
from sandwiching.oversight.report.build import reported
from sandwiching.oversight.report.files import HTML_FILE, JSON_FILE
from sandwiching.oversight.report.gather import Sources, gather
from sandwiching.training.artifacts import StageFolder, write_atomic
from sandwiching.training.roles import Roles


def report(
    *,
    check: CheckConfig,
    resources: ResourcesConfig,
    parents: Mapping[str, Path],
    folder: StageFolder,
    roles: Roles,
) -> dict[str, float]:
    """Write report.json and report.html. Parents: check, and monitor where the run has one. Returns no metrics."""
    checked = parents["check"].resolve()
    run = declared_in(checked).run if (checked / FILE).exists() else checked.name
    store = place_of(check.store, checked.parent)
    record, page = reported([gather(Sources(run, checked, parents.get("monitor"), store, check.caveat))])
    folder.check_attempt()
    write_atomic(folder.path / JSON_FILE, json.dumps(record, indent=1))
    write_atomic(folder.path / HTML_FILE, page)
    return {}
