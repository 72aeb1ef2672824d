"""Why a stage would be skipped, resumed or run, from the files in the store and in the run's folder."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sandwiching.configs.schema import ModelConfig
from sandwiching.launch.nodes import Node
from sandwiching.training.artifacts import MANIFEST, Store

SHOWN = 4
"""Differences that a reason lists."""
ACTIONS = {"done": "skip", "resume": "resume", "new": "run", None: "unknown"}


def reason(node: Node, store: Store, run_dir: Path, model: ModelConfig) -> str:
    """One phrase behind the action of a node."""
    state, folder = node.state(store), node.folder(store)
    if state is None or folder is None:
        awaited = _awaited(node)
        if awaited is not None:
            return f"waits for people: {awaited}"
        way = "hashed (`run` does it once)" if Path(model.path).expanduser().is_dir() else "fetched"
        return f"key unknown until {way}"
    if state == "done":
        return f"finished in {json.loads((folder / MANIFEST).read_text())['seconds']:.0f} s"
    if state == "resume":
        return _how_far(folder)
    return _what_changed(node, run_dir / "artifacts" / node.slug) or "not made yet"


def _awaited(node: Node) -> Path | None:
    """The first file of people's judgements that a node, or one before it, waits for."""
    seen: set[int] = set()

    def first(one: Node) -> Path | None:
        if id(one) in seen:
            return None
        seen.add(id(one))
        return next(filter(None, map(first, one.before)), None) or one.awaits

    return first(node)


def differences(before: Any, now: Any, name: str = "") -> Iterator[str]:
    """Settings that differ between two JSON values, as `ppo.steps 10 -> 20`."""
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        for key in sorted({*before, *now}):
            yield from differences(before.get(key), now.get(key), f"{name}.{key}".lstrip("."))
    elif before != now:
        yield f"{name} {json.dumps(before)} -> {json.dumps(now)}"


def newest_checkpoint(folder: Path) -> str | None:
    """Name of the newest checkpoint, as step_20; its hashes are not verified here."""
    steps = [path.name for path in (folder / "checkpoints").glob("step_*") if path.name.removeprefix("step_").isdigit()]
    return max(steps, key=lambda name: int(name.removeprefix("step_")), default=None)


def _how_far(folder: Path) -> str:
    attempt = (folder / "attempt").read_text().strip()
    progress = folder / "progress.json"
    reached = ""
    if progress.exists():
        state = json.loads(progress.read_text())
        reached = f" reached step {state['step']} of {state['total']}"
    checkpoint = newest_checkpoint(folder)
    return f"attempt {attempt}{reached}; " + (f"goes on from {checkpoint}" if checkpoint else "no checkpoint yet")


def _what_changed(node: Node, link: Path) -> str | None:
    """What differs from the artifact that the run used last time, or None when there was none."""
    manifest = link / MANIFEST
    if not manifest.exists():
        return None
    before = json.loads(manifest.read_text())
    now = json.loads(json.dumps(node.key_inputs, default=str))
    parents = {name: parent.key for name, parent in node.parents.items()}
    changed = list(differences(before["inputs"], now))
    changed += [f"parent {name}" for name in parents if before["parents"].get(name) != parents[name]]
    more = f", and {len(changed) - SHOWN} more" if len(changed) > SHOWN else ""
    return f"changed: {', '.join(changed[:SHOWN])}{more}" if changed else None
