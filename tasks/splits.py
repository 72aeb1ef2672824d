"""The three-way hold-out: groups go to train, dev or final as a whole."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict

from sandwiching.configs.schema import SplitsConfig
from sandwiching.tasks.records import SPLITS, Prompt, Split


def rank(salt: str, name: str) -> bytes:
    """A fixed random order of names: sort by it."""
    return hashlib.sha256(f"{salt}|{name}".encode()).digest()


def split_groups(
    groups: Collection[str],
    *,
    dev: float,
    final: float,
    salt: str,
    dev_groups: Sequence[str] | None = None,
    final_groups: Sequence[str] | None = None,
) -> dict[str, Split]:
    """Which split each group belongs to: shares by rank of sha256(salt, group), or the groups listed.

    A listed split takes exactly its groups; the other one its share of all groups, from those left.
    Raises ValueError for shares that leave nothing, listed groups that do not exist or stand twice, an empty split.
    """
    if not (0 < dev < 1 and 0 < final < 1 and dev + final < 1):
        raise ValueError(f"data.splits: dev {dev:g} and final {final:g} must be above 0 and leave a share for training")
    names = sorted(set(groups), key=lambda group: rank(salt, group))
    chosen = _listed(names, {"dev": dev_groups or (), "final": final_groups or ()})
    left = [group for group in names if group not in chosen]
    take_dev = round(dev * len(names)) if dev_groups is None else 0
    take_final = round(final * len(names)) if final_groups is None else 0
    for index, group in enumerate(left):
        chosen[group] = "dev" if index < take_dev else "final" if index < take_dev + take_final else "train"
    empty = [split for split in SPLITS if split not in chosen.values()]
    if empty:
        raise ValueError(
            f"data.splits: no group in {', '.join(empty)} ({len(names)} groups, dev {dev:g}, final {final:g}); "
            "use more groups, other shares, or data.holdout: prompt"
        )
    return chosen


def split_prompts(
    prompts: Sequence[Prompt], splits: SplitsConfig, most: int | None = None
) -> dict[Split, list[Prompt]]:
    """Prompts by split, in their order; at most `most` of a split, by hash. Raises ValueError as split_groups does."""
    place = split_groups({prompt.group for prompt in prompts}, **asdict(splits))
    return {
        split: keep([prompt for prompt in prompts if place[prompt.group] == split], most, splits.salt)
        for split in SPLITS
    }


def _listed(names: Sequence[str], lists: Mapping[Split, Sequence[str]]) -> dict[str, Split]:
    chosen: dict[str, Split] = {}
    for split, groups in lists.items():
        for group in groups:
            if group not in names:
                raise ValueError(f"data.splits.{split}_groups: no group {group!r} in the data; it has {names[:5]} ...")
            if chosen.setdefault(group, split) != split:
                raise ValueError(f"data.splits: group {group!r} is listed for dev and for final")
    return chosen


def keep(prompts: Sequence[Prompt], count: int | None, salt: str) -> list[Prompt]:
    """At most `count` prompts, chosen by hash, in their order."""
    if count is None or len(prompts) <= count:
        return list(prompts)
    kept = {prompt.id for prompt in sorted(prompts, key=lambda prompt: rank(salt, prompt.id))[:count]}
    return [prompt for prompt in prompts if prompt.id in kept]
