"""What a run tells people who are to judge before it can go on."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from sandwiching.launch.nodes import Node
from sandwiching.training.artifacts import Store, WaitingForPeople, read_manifest


def wait_for_people(nodes: Sequence[Node], store: Store, run_dir: Path) -> None:
    """Raise WaitingForPeople where judgements of these stages are not there yet; their pairs are."""
    lines = [_request(node, store, run_dir) for node in nodes if node.awaits is not None]
    if lines:
        raise WaitingForPeople("\n".join([*lines, "then the same command goes on from there"]))


def _request(node: Node, store: Store, run_dir: Path) -> str:
    # Brings a database along, which `plan` need not wait for.
    from sandwiching.launch.page.sources import ARTIFACT_FILE

    asked, tier = node.parents["pairs"], node.labels["tier"]
    folder = asked.folder(store)
    assert folder is not None
    count = read_manifest(folder).metrics[f"{asked.stage}/pairs"]
    serve = shlex.join(["sandwich", "raters", "serve", str(run_dir), "--pairs", asked.slug])
    export = ["sandwich", "raters", "export", str(run_dir), str(node.awaits), "--pairs", asked.slug, "--tier", tier]
    return (
        f"{count:.0f} pairs wait for {tier} people: have {folder / ARTIFACT_FILE} judged, for instance by `{serve}`, "
        f"and put the judgements at {node.awaits}, for instance by `{shlex.join(export)}`;"
    )
