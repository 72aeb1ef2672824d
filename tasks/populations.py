"""Panels as mixtures of kinds of people: how many of each kind, and who is of which."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Literal, TypeVar

from sandwiching.configs.schema import CapitalsTask, PeopleKind, PlantedTask
from sandwiching.tasks.habits import Habits
from sandwiching.tasks.splits import rank

AnyTask = TypeVar("AnyTask", CapitalsTask, PlantedTask)
Panel = Literal["training", "check"]

ORDINARY = "ordinary"
"""The kind of those whom no entry of task.population describes."""


def kinds_of(population: Mapping[str, PeopleKind], size: int, salt: str) -> list[str]:
    """The kind of each of `size` people: shares by largest remainder, places by hash, so that ability is no hint."""
    shares = {name: kind.share for name, kind in population.items()}
    shares[ORDINARY] = shares.get(ORDINARY, 0.0) + max(0.0, 1 - sum(shares.values()))
    counts = {name: int(share * size + 1e-9) for name, share in shares.items()}
    by_remainder = sorted(shares, key=lambda name: counts[name] - shares[name] * size)
    for name in by_remainder[: size - sum(counts.values())]:
        counts[name] += 1
    drawn = sorted(range(size), key=lambda number: rank(salt, str(number)))
    kinds = [ORDINARY] * size
    place = 0
    for name, count in counts.items():
        for number in drawn[place : place + count]:
            kinds[number] = name
        place += count
    return kinds


def with_kind(task: AnyTask, kind: PeopleKind | None) -> AnyTask:
    """The task as a kind of people has it: what the kind says of competence and habits, else the task's own."""
    if kind is None:
        return task
    names = {field.name for field in fields(PeopleKind)} & {field.name for field in fields(task)}
    return replace(task, **{name: value for name in names if (value := getattr(kind, name)) is not None})


def habits_of(kind: PeopleKind) -> Habits:
    """The habits of a kind; what it leaves open is no habit."""
    values = {field.name: getattr(kind, field.name) for field in fields(Habits)}
    values |= {"myths": tuple(kind.myths), "beliefs": tuple(kind.beliefs)}
    return Habits(**{name: value for name, value in values.items() if value is not None})


def habits_in(task: CapitalsTask | PlantedTask, kind: PeopleKind | None = None) -> Habits:
    """How the task's people judge, or those of one kind among them (`task` as they have it)."""
    everybody = Habits(task.misconception, task.length_bias, task.confidence_bias, task.lapse)
    if kind is None:
        return everybody
    of_all = {name: getattr(everybody, name) for name in ("misconception", "length_bias", "confidence_bias", "lapse")}
    return replace(habits_of(kind), **of_all)


def panel_size(task: CapitalsTask | PlantedTask, panel: Panel) -> int:
    """Number of people in a panel of either tier."""
    return task.raters if panel == "training" else task.check_raters
