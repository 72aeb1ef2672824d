"""Map the top-level folders into one import package: training/ is imported as sandwiching.training, and so on.

kernels/ has no __init__.py on purpose: with one it would shadow Hugging Face's own `kernels` package whenever the
repository root is on sys.path.
"""

from setuptools import find_namespace_packages, setup

FOLDERS = ("configs", "kernels", "launch", "oversight", "policy", "reward_model", "tasks", "training")

setup(
    packages=[f"sandwiching.{name}" for name in find_namespace_packages(include=[f"{folder}*" for folder in FOLDERS])],
    package_dir={f"sandwiching.{folder}": folder for folder in FOLDERS},
    package_data={"sandwiching.configs": ["*.yaml", "*.json"], "sandwiching.tasks": ["*.json"]},
)
