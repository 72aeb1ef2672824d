"""What a run settles before its first stage: absolute paths that change no key, and that the machine is big enough."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from sandwiching.configs.load import load
from sandwiching.launch.graph import build_graph
from sandwiching.launch.paths import with_absolute_paths

ROW = {"prompt": "p", "response_a": "a", "response_b": "b", "preference": "a", "rater": "r", "tier": "weak"}


def test_paths_become_absolute_and_keys_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SANDWICHING_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "judgements.jsonl").write_text(json.dumps(ROW) + "\n")
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    config = load("arguments", ["data.judgements=judgements.jsonl", "model.path=model"])
    absolute = with_absolute_paths(config)
    assert absolute.data.judgements == str(tmp_path / "judgements.jsonl")
    assert absolute.model.path == str(tmp_path / "model")
    keys = [node.key for node in build_graph(absolute).nodes]
    assert None not in keys
    assert keys == [node.key for node in build_graph(config).nodes]
    assert (config.model.path, config.data.judgements) == ("model", "judgements.jsonl")


def test_names_and_hub_ids_are_no_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny").mkdir()
    config = load("tiny")
    assert with_absolute_paths(config) == config
    hub = dataclasses.replace(config, model=dataclasses.replace(config.model, path="EleutherAI/pythia-70m"))
    assert with_absolute_paths(hub) == hub
