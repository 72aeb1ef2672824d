"""Triton's interpreter for the whole session, unless TRITON_INTERPRET=0 is set: `make test-gpu`."""

import importlib.util
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import settings

# Triton's own functions are decorated when it is imported, which torch, TRL and DeepSpeed may do in any test's module.
if "triton" in sys.modules and "TRITON_INTERPRET" not in os.environ:
    raise RuntimeError("triton was imported before TRITON_INTERPRET=1 was set: the kernels' tests cannot interpret it")
os.environ.setdefault("TRITON_INTERPRET", "1")

# Cores are shared: a slow example is no failure.
settings.register_profile("shared machine", deadline=None)
settings.load_profile("shared machine")


def beside(name: str) -> ModuleType:
    """A module of this folder, which importlib mode keeps off the path."""
    full = f"sandwiching_test_{name}"
    if full not in sys.modules:
        spec = importlib.util.spec_from_file_location(full, Path(__file__).parent / f"{name}.py")
        assert spec is not None
        assert spec.loader is not None
        sys.modules[full] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[full])
    return sys.modules[full]


@pytest.fixture(scope="session")
def runs() -> Any:
    """tests/finished_run.py: makes finished runs on disk."""
    return beside("finished_run")


@pytest.fixture
def chat_server() -> Iterator[Any]:
    """A Server of tests/chat_server.py."""
    module = beside("chat_server")
    with module.serving() as server:
        yield server


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Debian's Chromium, for tests marked `browser`."""
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium")
    assert chromium, "no Chromium here: `make test-browser` installs it"
    with sync_playwright() as playwright:
        # Its sandbox needs a user namespace, which root in a container has not.
        options = ["--no-sandbox"] if os.geteuid() == 0 else []
        # The machine may be busy.
        found = playwright.chromium.launch(executable_path=chromium, args=options, timeout=120_000)
        yield found
        found.close()
