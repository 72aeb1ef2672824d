"""Map the top-level folders into one import package: training/ is imported as sandwiching.training, and so on.

kernels/ has no __init__.py on purpose: with one it would shadow Hugging Face's own `kernels` package whenever the
repository root is on sys.path.

`python setup.py build_kernels` compiles kernels/csrc/*.cu for sm_80, sm_90 and later. An install does the same where
nvcc and torch are at hand, and goes on without where they are not.
"""

import importlib.util
import shutil
import subprocess
from pathlib import Path
from typing import ClassVar

from setuptools import Command, find_namespace_packages, setup
from setuptools.command.build import build

FOLDERS = ("configs", "kernels", "launch", "oversight", "policy", "reward_model", "tasks", "training")
SOURCE = Path(__file__).parent / "kernels" / "csrc" / "token_returns.cu"
LIBRARY = SOURCE.parent / "build" / "token_returns.so"
FLAGS = [
    *("-std=c++20", "-O3", "-shared", "-Xcompiler", "-fPIC", "-Xptxas", "-v", "--cudart", "static"),
    *("-gencode", "arch=compute_80,code=sm_80", "-gencode", "arch=compute_90,code=[sm_90,compute_90]"),
    "-DTORCH_TARGET_VERSION=0x020b000000000000",  # the stable ABI of torch 2.11
]


class BuildKernels(Command):
    """Compile the CUDA sources against torch's stable ABI; works with a torch built without CUDA."""

    description = "compile kernels/csrc with nvcc"
    user_options: ClassVar[list] = []

    def initialize_options(self) -> None:
        """No options."""

    def finalize_options(self) -> None:
        """No options."""

    def run(self) -> None:
        """Raises SystemExit when nvcc or torch is missing, CalledProcessError when the compiler fails."""
        nvcc, torch = shutil.which("nvcc"), importlib.util.find_spec("torch")
        if nvcc is None or torch is None or torch.origin is None:
            raise SystemExit("build_kernels needs nvcc on PATH and an installed torch")
        LIBRARY.parent.mkdir(exist_ok=True)
        root = Path(torch.origin).parent
        paths = [f"-I{root / 'include'}", f"-L{root / 'lib'}", "-ltorch_cpu"]
        if (root / "lib" / "libtorch_cuda.so").exists():
            # For the current stream: a weak symbol, which alone does not make a linker keep a library.
            paths += ["-Xlinker", "--no-as-needed", "-ltorch_cuda"]
        subprocess.run([nvcc, *FLAGS, str(SOURCE), *paths, "-o", str(LIBRARY)], check=True)


class TryBuildKernels(BuildKernels):
    """What an install does: without the library one op lacks a backend, which is no reason to fail."""

    def run(self) -> None:
        """Warns where build_kernels raises."""
        try:
            super().run()
        except (SystemExit, OSError, subprocess.CalledProcessError) as error:
            self.warn(f"no CUDA kernels: {error}")


class Build(build):
    """The usual build, kernels first, so that wheels hold them."""

    sub_commands: ClassVar[list] = [("try_build_kernels", None), *build.sub_commands]


setup(
    packages=[f"sandwiching.{name}" for name in find_namespace_packages(include=[f"{folder}*" for folder in FOLDERS])],
    package_dir={f"sandwiching.{folder}": folder for folder in FOLDERS},
    package_data={
        "sandwiching.configs": ["*.yaml", "*.json"],
        "sandwiching.kernels": ["csrc/*.cu", "csrc/build/*.so"],
        "sandwiching.launch.page": ["templates/*.html", "static/*"],
        "sandwiching.oversight.report": ["templates/*"],
        "sandwiching.tasks": ["*.json"],
    },
    cmdclass={"build": Build, "build_kernels": BuildKernels, "try_build_kernels": TryBuildKernels},
)
