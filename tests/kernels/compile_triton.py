"""Compiles every Triton kernel for sm_80 and sm_90 without a GPU; prints one JSON line each: registers and spills."""

# pyright: reportMissingImports=false, reportCallIssue=false, reportArgumentType=false
from __future__ import annotations

import json
import re
import subprocess
import tempfile
from pathlib import Path

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from sandwiching.kernels.triton_ops import returns, rows

CUOBJDUMP = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
POINTERS = {"target": "*i64", "mask": "*u8"}
SCALARS = {
    **dict.fromkeys(("V", "T", "size", "stride", "out_stride", "reference_stride"), "i32"),
    **dict.fromkeys(("inverse_temperature", "kl_coefficient", "gamma", "lam"), "fp32"),
}
BLOCK_V = {"BLOCK_V": rows.BLOCK}
BOTH = {"HAS_DLOGPROB": True, "HAS_DENTROPY": True, **BLOCK_V}
KERNELS = [
    (rows.row_stats_kernel, {"BLOCK_V": rows.STATS_BLOCK}, {}, rows.STATS_WARPS),
    *((rows.row_dlogits_kernel, BOTH, {"out": dtype}, rows.WARPS) for dtype in ("*bf16", "*fp16", "*fp32")),
    (rows.row_dlogits_kernel, {**BOTH, "HAS_DENTROPY": False}, {"out": "*bf16"}, rows.WARPS),
    (rows.row_kl_kernel, BLOCK_V, {}, rows.WARPS),
    (returns.token_returns_kernel, {"BLOCK_T": returns.BLOCK}, {}, 4),
    (returns.whiten_kernel, {"SHIFT_MEAN": True, "BLOCK_N": returns.WHITEN_BLOCK}, {"statistics": "*fp64"}, 4),
]


def usage(kernel, constants: dict, types: dict, warps: int, arch: int) -> dict:
    """Registers a thread, and bytes of stack, which is where spills go."""
    signature = {
        name: "constexpr" if name in constants else types.get(name) or SCALARS.get(name) or POINTERS.get(name, "*fp32")
        for name in kernel.arg_names
    }
    source = ASTSource(kernel, signature, constexprs=constants)
    compiled = triton.compile(source, target=GPUTarget("cuda", arch, 32), options={"num_warps": warps})
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(compiled.asm["cubin"])
        file.flush()
        dump = subprocess.run([CUOBJDUMP, "-res-usage", file.name], capture_output=True, text=True, check=True).stdout
    found = re.search(r"REG:(\d+) STACK:(\d+) .*LOCAL:(\d+)", dump)
    assert found, dump
    registers, stack, local = map(int, found.groups())
    name = f"{kernel.fn.__name__} {' '.join(types.values())}".strip()
    return {"triton": triton.__version__, "arch": arch, "name": name, "registers": registers, "spilled": stack + local}


if __name__ == "__main__":
    for arch in (80, 90):
        for kernel in KERNELS:
            print(json.dumps(usage(*kernel, arch)), flush=True)
