"""What the gates of a run said of its weak judgements. Torch-free."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sandwiching.training.artifacts import MANIFEST, Manifest, read_manifest
from sandwiching.training.lineage import of_stage


def gates(found: Mapping[Path, Manifest], artifacts: Path) -> list[dict[str, Any]]:
    """gate.json of each gate that was asked about judgements among `found`, with its `artifact` and its arms."""
    keys = {found[path].key for path in of_stage(dict(found), "judgements")}
    reports = []
    for file in sorted(artifacts.glob(f"gate-*/{MANIFEST}")):
        manifest = read_manifest(file.parent)
        if keys & set(manifest.parents.values()):
            arms, seed = manifest.environment.get("arms", []), manifest.inputs.get("seed")
            named = {"artifact": file.parent.name, "arms": arms, "seed": seed}
            reports.append({**named, **json.loads((file.parent / "gate.json").read_text())})
    return sorted(reports, key=lambda one: (one["arms"], one["seed"] or 0))


def halves_of(reports: Iterable[Mapping[str, Any]]) -> list[tuple[float, float, float]]:
    """Split-half agreement with its interval, of the gates that have one."""
    halves: Sequence[Any] = [one["split_half"] for one in reports if one["split_half"] is not None]
    return [(half["agreement"], half["low"], half["high"]) for half in halves]
