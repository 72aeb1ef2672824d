"""Paths of a config as they are for a process that starts in another folder."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from sandwiching.configs.schema import Config
from sandwiching.policy.base_models import BUILT_IN


def with_absolute_paths(config: Config) -> Config:
    """The same config for processes that start in another folder, as Ray's workers do. Paths enter no key."""
    model, data = config.model, config.data
    if Path(model.path).expanduser().is_dir() and model.path not in BUILT_IN:
        model = replace(model, path=str(Path(model.path).expanduser().resolve()))
    if data.judgements is not None:
        data = replace(data, judgements=str(Path(data.judgements).expanduser().resolve()))
    resources, vllm = config.resources, config.resources.vllm
    if vllm.python is not None:
        resources = replace(resources, vllm=replace(vllm, python=str(Path(vllm.python).expanduser().absolute())))
    return replace(config, model=model, data=data, resources=resources)
