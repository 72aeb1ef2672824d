"""Kernels compile for GPUs that are not there, without spilling registers."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from sandwiching.kernels.backends import has_triton

ROOT = Path(__file__).resolve().parent.parent.parent
COMPILE = Path(__file__).with_name("compile_triton.py")
OTHER_TRITON = "SANDWICHING_OTHER_TRITON"
"""Folder made by `pip install --no-deps --target FOLDER triton==3.6.0`."""


def compile_all(tmp_path: Path, *paths: str) -> list[dict]:
    """Every kernel's registers and spills, from a process where Triton compiles instead of interpreting."""
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    environment["PYTHONPATH"] = os.pathsep.join([*paths, environment.get("PYTHONPATH", "")])
    environment["TRITON_CACHE_DIR"] = str(tmp_path)
    done = subprocess.run([sys.executable, COMPILE], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    print(done.stdout)
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.skipif(not has_triton(), reason="Triton is not installed")
def test_triton_kernels_compile_for_sm_80_and_sm_90_without_spills(tmp_path):
    kernels = compile_all(tmp_path)
    assert {kernel["arch"] for kernel in kernels} == {80, 90}
    assert [kernel for kernel in kernels if kernel["spilled"]] == []


@pytest.mark.slow
@pytest.mark.skipif(OTHER_TRITON not in os.environ, reason=f"{OTHER_TRITON} names no folder with another Triton")
def test_triton_kernels_compile_with_another_version(tmp_path):
    kernels = compile_all(tmp_path, os.environ[OTHER_TRITON])
    (metadata,) = Path(os.environ[OTHER_TRITON]).glob("triton-*.dist-info")
    assert {f"triton-{kernel['triton']}.dist-info" for kernel in kernels} == {metadata.name}
    assert [kernel for kernel in kernels if kernel["spilled"]] == []


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("nvcc") is None, reason="nvcc is not installed")
def test_the_cuda_library_compiles_without_spills_and_loads(tmp_path):
    copy = tmp_path / "sandwiching"
    (copy / "kernels").mkdir(parents=True)
    shutil.copy(ROOT / "setup.py", copy)
    shutil.copytree(ROOT / "kernels" / "csrc", copy / "kernels" / "csrc", ignore=shutil.ignore_patterns("build"))
    build = subprocess.run(
        [sys.executable, "setup.py", "build_kernels"], cwd=copy, capture_output=True, text=True, check=False
    )
    output = build.stdout + build.stderr
    assert build.returncode == 0, output
    spills = re.findall(r"for '?(sm_\d+)'?.*?(\d+) bytes spill stores, (\d+) bytes spill loads", output, re.DOTALL)
    assert sorted(spills) == [("sm_80", "0", "0"), ("sm_90", "0", "0")]
    library = copy / "kernels" / "csrc" / "build" / "token_returns.so"
    code = (
        f"import torch; torch.ops.load_library('{library}'); "
        "x = torch.ones(1, 2); out = [x.clone() for _ in range(3)]; "
        "torch.ops.sandwiching_cuda.token_returns(torch.ones(1), x, x, x > 0, 0.5, 1.0, 1.0, *out, torch.ones(1, 3)); "
        "print([y.tolist() for y in out])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[[[-0.5, 0.5]], [[-1.0, -0.5]], [[0.0, 0.5]]]"


def test_an_install_without_nvcc_does_not_fail(tmp_path):
    environment = {**os.environ, "PATH": str(Path(sys.executable).parent)}
    done = subprocess.run(
        [sys.executable, "setup.py", "-q", "try_build_kernels"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "no CUDA kernels: build_kernels needs nvcc" in done.stdout + done.stderr
