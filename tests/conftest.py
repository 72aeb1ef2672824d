"""Triton's interpreter for the whole session, unless TRITON_INTERPRET=0 is set: `make test-gpu`."""

import os
import sys

from hypothesis import settings

# Triton's own functions are decorated when it is imported, which torch, TRL and DeepSpeed may do in any test's module.
if "triton" in sys.modules and "TRITON_INTERPRET" not in os.environ:
    raise RuntimeError("triton was imported before TRITON_INTERPRET=1 was set: the kernels' tests cannot interpret it")
os.environ.setdefault("TRITON_INTERPRET", "1")

# Cores are shared: a slow example is no failure.
settings.register_profile("shared machine", deadline=None)
settings.load_profile("shared machine")
