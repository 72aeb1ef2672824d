"""What artifacts were made from: all ancestors, from their manifests. Torch-free."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from sandwiching.training.artifacts import MANIFEST, Manifest, read_manifest


def lineage(artifacts: Iterable[Path]) -> dict[Path, Manifest]:
    """The artifacts and all that they were made from, with their manifests; what has none is left out.

    Ancestors lie beside them, as <stage>-<key>.
    """
    found: dict[Path, Manifest] = {}
    waiting = list(artifacts)
    while waiting:
        path = waiting.pop()
        if path in found or not (path / MANIFEST).exists():
            continue
        found[path] = read_manifest(path)
        waiting += [near for key in found[path].parents.values() for near in path.parent.glob(f"*-{key}")]
    return found


def of_stage(found: dict[Path, Manifest], stage: str) -> list[Path]:
    """Artifacts of one stage, by name."""
    return sorted(path for path, manifest in found.items() if manifest.stage == stage)
