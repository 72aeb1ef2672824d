"""What a process that computes is told at its start."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from sandwiching.configs.schema import ResourcesConfig
from sandwiching.kernels import backends
from sandwiching.launch.environment import prepare_process, set_library_environment


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)
    backends.use_backend("auto")


def test_threads_and_kernels_are_those_of_the_config(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(backends.ENVIRONMENT, raising=False)
    monkeypatch.setenv("TRITON_INTERPRET", "0")
    prepare_process(ResourcesConfig(kernels="torch"), 1)
    assert torch.get_num_threads() == 1
    assert backends.row_backend(torch.device("cuda"), torch.float32) == "torch"


def test_kernels_that_are_not_installed_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backends, "has_triton", lambda: False)
    backends._check.cache_clear()
    with pytest.raises(ValueError, match="kernels=triton: Triton is not installed"):
        prepare_process(ResourcesConfig(kernels="triton"), 1)


AUTH = ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_ADDRESS")


@pytest.mark.parametrize(
    ("given", "mode", "token"),
    [
        ({}, "token", "made here"),
        ({"RAY_AUTH_TOKEN": "mine"}, "token", "mine"),
        ({"RAY_ADDRESS": "head:6379", "RAY_AUTH_TOKEN": "its"}, "token", "its"),
        ({"RAY_ADDRESS": "head:6379"}, None, None),
        ({"RAY_ADDRESS": "head:6379", "RAY_AUTH_MODE": "disabled", "RAY_AUTH_TOKEN": "its"}, "disabled", "its"),
    ],
)
def test_a_ray_of_our_own_has_a_token_and_another_is_shown_the_one_there_is(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, given: dict[str, str], mode: str | None, token: str | None
) -> None:
    monkeypatch.setattr(os, "environ", {"HOME": str(tmp_path), **given})
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    set_library_environment(gpus=0)
    assert os.environ.get("RAY_AUTH_MODE") == mode
    found = os.environ.get("RAY_AUTH_TOKEN")
    assert found is not None and len(found) == 32 if token == "made here" else found == token
