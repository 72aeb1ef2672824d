"""The architecture as a test: which folder may import which, who may use Ray, gold and torch.distributed, and sizes.

launch -> oversight -> training -> reward_model | policy | tasks -> kernels | configs        (arrows go down only)
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ARROWS: dict[str, set[str]] = {
    "configs": set(),
    "kernels": set(),
    "policy": {"kernels"},
    "reward_model": {"kernels"},
    "tasks": {"configs"},
    "training": {"reward_model", "policy", "tasks", "configs"},
    "oversight": {"training", "reward_model", "policy", "tasks", "configs"},
    "launch": {"oversight", "training", "reward_model", "policy", "tasks", "kernels", "configs"},
}
"""Folder -> the folders it may import besides itself."""
THIRD_PARTY = {"configs": {"omegaconf", "yaml"}, "kernels": {"torch", "triton"}}
"""Folders that may use these packages and the standard library only."""
MAY_IMPORT_GOLD = {"training/judgements.py"}
"""Files outside oversight/ that may import expert raters and gold: for the training split of an expert arm."""
MAY_USE_DISTRIBUTED = {"training/distributed.py"}
FILE_LINES = 300
FUNCTION_LINES = {"kernels": 120}
DEFAULT_FUNCTION_LINES = 50
TORCH_FREE = (
    "sandwiching.configs.load",
    "sandwiching.launch.cli",
    "sandwiching.launch.graph",
    "sandwiching.launch.ledger_command",
    "sandwiching.launch.looks",
    "sandwiching.launch.page.server",
    "sandwiching.launch.page.sources",
    "sandwiching.launch.plan",
    "sandwiching.launch.plan_view",
    "sandwiching.launch.raters.commands",
    "sandwiching.launch.raters.serve",
    "sandwiching.launch.raters.report_view",
    "sandwiching.launch.ray_jobs",
    "sandwiching.launch.report_command",
    "sandwiching.launch.slurm_fit",
    "sandwiching.launch.slurm_script",
    "sandwiching.launch.status",
    "sandwiching.launch.submit_commands",
    "sandwiching.launch.sweep.command",
    "sandwiching.launch.sweep.objective",
    "sandwiching.launch.sweep.outcome",
    "sandwiching.launch.sweep.plan",
    "sandwiching.launch.sweep.trials",
    "sandwiching.oversight.expert_store",
    "sandwiching.oversight.rater_report",
    "sandwiching.oversight.report.build",
    "sandwiching.policy.base_models",
    "sandwiching.tasks.registry",
    "sandwiching.training.artifacts",
    "sandwiching.training.metrics",
)


def sources(*folders: str) -> list[Path]:
    return [file for folder in folders for file in sorted((ROOT / folder).rglob("*.py"))]


def name_of(file: Path) -> str:
    return file.relative_to(ROOT).as_posix()


def tree_of(file: Path) -> ast.Module:
    return ast.parse(file.read_text(), filename=str(file))


def imports(tree: ast.AST) -> Iterator[str]:
    """Dotted names that a module imports anywhere in it; `from a import b` gives a.b. Relative ones keep their dots."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = "." * node.level + (node.module or "")
            yield from (f"{base}.{alias.name}" for alias in node.names)


def wrong_arrows(folder: str, tree: ast.AST) -> list[str]:
    """Imports that no arrow allows."""
    wrong = []
    for name in imports(tree):
        parts = name.split(".")
        inside = parts[0] == "sandwiching" and len(parts) > 1
        if name.startswith(".") or parts[0] in ARROWS or (inside and parts[1] not in ARROWS[folder] | {folder}):
            wrong.append(name)
    return wrong


def gold_imports(tree: ast.AST) -> list[str]:
    """Imports of tasks/<name>_gold.py."""
    return [name for name in imports(tree) if any(part.endswith("_gold") for part in name.split(".")[:3])]


def distributed_uses(tree: ast.AST) -> list[str]:
    """Imports of torch.distributed, and `torch.distributed` as an expression."""
    found = [name for name in imports(tree) if name.startswith("torch.distributed")]
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr == "distributed" and isinstance(node.value, ast.Name):
            found += [f"{node.value.id}.distributed"] if node.value.id == "torch" else []
    return found


def long_functions(tree: ast.AST, limit: int) -> list[str]:
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    lengths = [(node.name, (node.end_lineno or node.lineno) - node.lineno + 1) for node in functions]
    return [f"{name}: {length} lines" for name, length in lengths if length > limit]


@pytest.mark.parametrize("folder", sorted(ARROWS))
def test_imports_follow_the_arrows(folder: str) -> None:
    wrong = {name_of(file): found for file in sources(folder) if (found := wrong_arrows(folder, tree_of(file)))}
    assert not wrong


def test_arrows_have_no_cycle_and_siblings_do_not_meet() -> None:
    order = list(ARROWS)
    assert all(order.index(below) < order.index(above) for above in ARROWS for below in ARROWS[above])
    siblings = {"policy", "reward_model", "tasks"}
    assert not any(ARROWS[folder] & siblings for folder in siblings)
    assert all("oversight" not in ARROWS[folder] for folder in ("training", "policy", "reward_model", "tasks"))


@pytest.mark.parametrize("folder", sorted(THIRD_PARTY))
def test_low_folders_use_few_packages(folder: str) -> None:
    allowed = THIRD_PARTY[folder] | set(sys.stdlib_module_names) | {"sandwiching"}
    used = {name.split(".")[0] for file in sources(folder) for name in imports(tree_of(file))}
    assert used <= allowed


def test_ray_is_used_in_launch_only() -> None:
    folders = [folder for folder in ARROWS if folder != "launch"]
    users = [
        name_of(file)
        for file in sources(*folders)
        if any(name.split(".")[0] == "ray" for name in imports(tree_of(file)))
    ]
    assert not users


def test_torch_distributed_is_used_in_one_file() -> None:
    users = {name_of(file) for file in sources(*ARROWS) if distributed_uses(tree_of(file))}
    assert users <= MAY_USE_DISTRIBUTED


def test_gold_is_for_oversight_and_expert_judgements() -> None:
    users = {name_of(file) for file in sources(*ARROWS) if gold_imports(tree_of(file))}
    outside = {name for name in users if not name.startswith("oversight/") and not name.endswith("_gold.py")}
    assert outside <= MAY_IMPORT_GOLD


def test_no_file_and_no_function_is_too_long() -> None:
    files = {name_of(file): len(file.read_text().splitlines()) for file in sources(*ARROWS, "tests")}
    assert {name: length for name, length in files.items() if length > FILE_LINES} == {}
    functions = {
        name_of(file): found
        for folder in ARROWS
        for file in sources(folder)
        if (found := long_functions(tree_of(file), FUNCTION_LINES.get(folder, DEFAULT_FUNCTION_LINES)))
    }
    assert functions == {}


def test_kernels_is_no_regular_package() -> None:
    """With an __init__.py it would shadow Hugging Face's `kernels` wherever the repository root is on sys.path."""
    assert not (ROOT / "kernels" / "__init__.py").exists()
    assert all((ROOT / folder / "__init__.py").exists() for folder in ARROWS if folder != "kernels")


def test_type_checkers_see_every_folder() -> None:
    links = ROOT / "typings" / "sandwiching"
    assert {link.name: link.resolve() for link in links.iterdir()} == {folder: ROOT / folder for folder in ARROWS}


@pytest.mark.parametrize("module", TORCH_FREE)
def test_what_plan_needs_is_imported_without_torch(module: str) -> None:
    code = f"import sys, {module}; print([name for name in ('torch', 'transformers', 'ray') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("folder", "code", "wrong"),
    [
        ("training", "from sandwiching.oversight.check import check", ["sandwiching.oversight.check.check"]),
        ("policy", "def f():\n    import sandwiching.tasks.records", ["sandwiching.tasks.records"]),
        ("policy", "from sandwiching.configs import schema", ["sandwiching.configs.schema"]),
        ("policy", "from . import losses", ["..losses"]),
        ("policy", "import kernels.ops", ["kernels.ops"]),
        (
            "policy",
            "import torch\nfrom sandwiching.kernels.ops import linear_logprob\nimport sandwiching.policy.kl",
            [],
        ),
    ],
)
def test_the_arrow_test_can_fail(folder: str, code: str, wrong: list[str]) -> None:
    assert wrong_arrows(folder, ast.parse(code)) == wrong


def test_the_other_tests_can_fail() -> None:
    assert distributed_uses(ast.parse("from torch import distributed")) == ["torch.distributed"]
    assert distributed_uses(ast.parse("import torch\ntorch.distributed.barrier()")) == ["torch.distributed"]
    assert distributed_uses(ast.parse("from sandwiching.training import distributed\ndistributed.rank()")) == []
    assert gold_imports(ast.parse("from sandwiching.tasks import capitals_gold"))
    assert gold_imports(ast.parse("from sandwiching.tasks.capitals_gold import make_gold"))
    assert not gold_imports(ast.parse("from sandwiching.tasks.capitals import is_gold"))
    assert long_functions(ast.parse("def f():\n" + "    pass\n" * 50), 50) == ["f: 51 lines"]
