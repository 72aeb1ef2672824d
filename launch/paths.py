"""Paths of a config as they are for a process that starts in another folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from sandwiching.configs.load import arm_config
from sandwiching.configs.schema import Config, JudgementsConfig, PeopleFiles
from sandwiching.policy.base_models import BUILT_IN, default_cache


def with_absolute_paths(config: Config) -> Config:
    """The same config for processes that start in another folder, as Ray's workers do. Paths enter no key."""
    model, data = replace(config.model, path=_model(config.model.path)), config.data
    if data.judgements is not None:
        data = replace(data, judgements=_file(data.judgements))
    resources, vllm = config.resources, config.resources.vllm
    if vllm.python is not None:
        resources = replace(resources, vllm=replace(vllm, python=str(Path(vllm.python).expanduser().absolute())))
    judgements = _raters(config.judgements)
    arms = {name: replace(arm, overrides=_override(arm.overrides)) for name, arm in config.arms.items()}
    check = config.check
    if check.store is not None:
        check = replace(check, store=str(Path(check.store).expanduser().resolve()))
    changed = {"model": model, "data": data, "resources": resources, "judgements": judgements, "check": check}
    return replace(config, arms=arms, **changed)


def outside_paths(config: Config) -> list[Path]:
    """Files and folders that exist and that the run reads, or keeps answers in; config: with absolute paths."""
    return list(dict.fromkeys(path for path in _named(config) if path.is_absolute() and path.exists()))


def _named(config: Config) -> Iterator[Path]:
    yield Path(config.model.path)
    if config.data.judgements is not None:
        yield Path(config.data.judgements)
    for judgements in (config.judgements, *(arm_config(config, arm).judgements for arm in config.arms)):
        yield from (Path(path) for path in (judgements.model.path, judgements.assistant) if path is not None)
        # What is to be there later lies in a folder that is there.
        for path in map(Path, filter(None, (judgements.model.cache, *vars(judgements.people).values()))):
            yield path if path.exists() else path.parent


def model_caches() -> dict[str, Path]:
    """Where models from the hub, and those that we build, lie on this machine, by the variable that says so."""
    hub = Path(os.environ.get("HF_HOME", Path.home() / ".cache" / "huggingface"))
    named = {"HF_HOME": hub, "SANDWICHING_CACHE": default_cache()}
    if "HF_HUB_CACHE" in os.environ:
        named["HF_HUB_CACHE"] = Path(os.environ["HF_HUB_CACHE"])
    return {name: path.expanduser().absolute() for name, path in named.items() if path.expanduser().is_dir()}


def _model(path: str) -> str:
    folder = Path(path).expanduser()
    return str(folder.resolve()) if folder.is_dir() and path not in BUILT_IN else path


def _raters(judgements: JudgementsConfig) -> JudgementsConfig:
    """With absolute paths of the models that judge and help, of the cache of answers, and of people's judgements."""
    model, assistant = judgements.model, judgements.assistant
    if model.path is not None:
        model = replace(model, path=_model(model.path))
    if model.cache is not None:
        model = replace(model, cache=_file(model.cache))
    files = {tier: path and _file(path) for tier, path in vars(judgements.people).items()}
    return replace(judgements, model=model, assistant=assistant and _model(assistant), people=PeopleFiles(**files))


def _file(path: str) -> str:
    return str(Path(path).expanduser().resolve())


def _override(blocks: dict[str, Any]) -> dict[str, Any]:
    """The same of what an arm overrides."""
    judgements = blocks.get("judgements")
    if judgements is None:
        return blocks
    changed = dict(judgements)
    if changed.get("assistant"):
        changed["assistant"] = _model(changed["assistant"])
    if changed.get("model"):
        model = dict(changed["model"])
        for name, absolute in (("path", _model), ("cache", _file)):
            if model.get(name):
                model[name] = absolute(model[name])
        changed["model"] = model
    if changed.get("people"):
        changed["people"] = {tier: path and _file(path) for tier, path in changed["people"].items()}
    return {**blocks, "judgements": changed}
