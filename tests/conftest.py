"""Triton's interpreter for the whole session."""

import os
import sys

# Triton's own functions are decorated when it is imported, which torch, TRL and DeepSpeed may do in any test's module.
if "triton" in sys.modules and os.environ.get("TRITON_INTERPRET") != "1":
    raise RuntimeError("triton was imported before TRITON_INTERPRET=1 was set: the kernels' tests cannot interpret it")
os.environ["TRITON_INTERPRET"] = "1"
