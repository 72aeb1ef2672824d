"""Triton's interpreter for the whole session, unless TRITON_INTERPRET=0 is set: `make test-gpu`."""

import importlib.util
import os
import sys
from collections.abc import Iterator
from pathlib import Path
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


@pytest.fixture
def chat_server() -> Iterator[Any]:
    """A Server of tests/chat_server.py, which importlib mode keeps off the path."""
    spec = importlib.util.spec_from_file_location("sandwiching_test_chat", Path(__file__).parent / "chat_server.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    with module.serving() as server:
        yield server
