"""Settings about raters that do not fit together: panels, populations, model raters and their help."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from sandwiching.configs.people_block import ModelRaterConfig, PeopleKind
from sandwiching.configs.schema import CapitalsTask, Config, JudgementsTask, PlantedTask

ROUNDING = 1e-9


def people_problems(config: Config) -> Iterator[str]:
    """A line a problem, each naming the settings and values that would do."""
    if isinstance(config.task, CapitalsTask | JudgementsTask | PlantedTask):
        yield from _panels(config)
        yield from _population(config.task.population)
    if isinstance(config.task, JudgementsTask):
        yield from _people_of_a_file(config, config.task)
    yield from _people_files(config)
    yield from _model_raters(config)
    yield from _assistance(config)


def _panels(config: Config) -> Iterator[str]:
    task, judgements = config.task, config.judgements
    asked: list[tuple[str, int, str, int]] = []
    own_people = isinstance(task, CapitalsTask | PlantedTask)
    if judgements.raters == "simulated" or (judgements.raters == "task" and own_people):
        asked.append(("judgements.raters_per_pair", judgements.raters_per_pair, "task.raters", task.raters))
    if isinstance(task, CapitalsTask):
        asked.append(("task.demonstrators", task.demonstrators, "task.raters", task.raters))
    if isinstance(task, CapitalsTask | PlantedTask):
        asked.append(
            ("check.raters_per_response", config.check.raters_per_response, "task.check_raters", task.check_raters)
        )
    for name, wanted, panel, size in asked:
        if wanted > size:
            yield f"{name}={wanted} is more than {panel}={size}; set {name} to at most {size}"


def _population(population: Mapping[str, PeopleKind]) -> Iterator[str]:
    total = sum(kind.share for kind in population.values())
    if total > 1 + ROUNDING:
        yield f"task.population: the shares add up to {total:g}; they must not exceed 1"
    for name, kind in population.items():
        place = f"task.population.{name}"
        if bool(kind.myths) != bool(kind.myth_bias):
            yield f"{place}.myths and {place}.myth_bias belong together: give phrases and what one gains"


def _people_of_a_file(config: Config, task: JudgementsTask) -> Iterator[str]:
    if config.judgements.raters == "people":
        yield "judgements.raters=people waits for judgements of new pairs; those in data.judgements are raters=task"
    total = sum(kind.share for kind in task.population.values())
    if config.judgements.raters == "simulated" and abs(total - 1) > ROUNDING:
        yield (
            f"task.population: the shares add up to {total:g}; task judgements has no other simulated people, "
            "so that they must add up to 1 (`sandwich raters fit FILE` writes a population)"
        )
    for name, kind in task.population.items():
        place = f"task.population.{name}"
        if kind.misconception is not None:
            yield f"{place}.misconception is about familiar names in capitals; in a file, use myths and myth_bias"
        if task.truth == "none" and (kind.competence is not None or kind.topics or kind.source_access):
            yield (
                f"{place}: competence, topics and source_access need a truth to go by; set task.truth=expert "
                "(or weak), or leave them out"
            )
        if kind.sycophancy and not kind.beliefs:
            yield f"{place}.sycophancy needs beliefs to agree with; give {place}.beliefs"


def _people_files(config: Config) -> Iterator[str]:
    """Which tiers need a file is known where the arms are: launch/graph.py."""
    judgements = config.judgements
    for name, path in vars(judgements.people).items():
        place = f"judgements.people.{name}={path}"
        if path is None:
            continue
        if judgements.raters != "people":
            yield f"{place}, but judgements.raters={judgements.raters}; set judgements.raters=people"
            continue
        for several, part in ((config.labels.rounds > 1, "round"), (len(config.seeds) > 1, "seed")):
            if several and f"{{{part}}}" not in path:
                yield f"{place}: each {part} has pairs of its own; name a file for each, as {_with(path, part)}"


def _with(path: str, part: str) -> str:
    stem, dot, ending = path.partition(".jsonl")
    return f"{stem}-{{{part}}}{dot}{ending}"


def _model_raters(config: Config) -> Iterator[str]:
    judgements, model = config.judgements, config.judgements.model
    if judgements.raters != "model":
        if model != ModelRaterConfig():
            yield f"judgements.model is set, but judgements.raters={judgements.raters}; set judgements.raters=model"
        return
    if (model.path is None) == (model.url is None):
        yield "judgements.raters=model: set either judgements.model.path (a local model) or judgements.model.url"
    if model.url is not None and model.name is None:
        yield f"judgements.model.url={model.url}: set judgements.model.name too, the model's name there"
    if model.url is not None and model.answer == "choice":
        yield (f"judgements.model.url={model.url}: a server is asked for text; set judgements.model.answer=text")
    if judgements.raters_per_pair != 1:
        yield (
            f"judgements.raters_per_pair={judgements.raters_per_pair}, but the model is one rater; "
            "set judgements.raters_per_pair=1"
        )


def _assistance(config: Config) -> Iterator[str]:
    judgements = config.judgements
    if judgements.assistance == "none":
        if judgements.assistant is not None:
            yield (
                f"judgements.assistant={judgements.assistant} is asked for nothing; set judgements.assistance=honest "
                "(or dishonest)"
            )
        return
    if judgements.raters != "model":
        yield (
            f"judgements.assistance={judgements.assistance}: only a model reads a critique; "
            "set judgements.raters=model, or judgements.assistance=none"
        )
    if judgements.assistant is None and config.sft is None:
        yield (
            f"judgements.assistance={judgements.assistance}: without SFT there is no policy to write critiques; "
            "set judgements.assistant, as in smollm2-135m"
        )
