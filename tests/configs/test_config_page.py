"""docs/config.md says of every setting what its dataclass says.

UPDATE_GOLDEN=1 pytest tests/configs/test_config_page.py     writes it anew
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import json
import os
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_type_hints

from omegaconf import MISSING

from sandwiching.configs.fields import ARM_BLOCKS, block_of, describe, entry_of
from sandwiching.configs.ranges import CHOICES, RANGES
from sandwiching.configs.schema import TASKS, Config

PAGE = Path(__file__).parents[2] / "docs" / "config.md"
HEAD = f"""\
# Settings

Every key of a config, by block: what may stand there, what holds where nothing stands, what it means. YAML is these
blocks and nothing else; an unknown key fails. On the command line: `sandwich run capitals ppo.steps=20 ppo.epochs=2`.
An arm may override {", ".join(f"`{name}`" for name in ARM_BLOCKS)}. What `resources`, `tracking`,
`slurm`, `ray` and `sweep` say enters no artifact's key.

Made from the dataclasses in `configs/` by tests/configs/test_config_page.py.
"""


def said_of(block: type) -> dict[str, str]:
    """What stands below each setting of a dataclass, on one line."""
    (tree,) = ast.parse(textwrap.dedent(inspect.getsource(block))).body
    assert isinstance(tree, ast.ClassDef)
    said = {}
    for before, one in zip(tree.body, tree.body[1:], strict=False):
        is_text = isinstance(one, ast.Expr) and isinstance(one.value, ast.Constant)
        if isinstance(before, ast.AnnAssign) and isinstance(before.target, ast.Name) and is_text:
            said[before.target.id] = " ".join(str(one.value.value).split())  # pyright: ignore[reportAttributeAccessIssue]
    return said


def all_said(block: type) -> dict[str, str]:
    """The same with what it inherits."""
    kinds = [kind for kind in reversed(block.__mro__) if dataclasses.is_dataclass(kind)]
    return {name: text for kind in kinds for name, text in said_of(kind).items()}


def sections(value: Any, place: str) -> Iterator[str]:
    """The table of a block and of all blocks in it; value: with its defaults."""
    block = type(value)
    kinds, said, below = get_type_hints(block), all_said(block), list[tuple[Any, str]]()
    rows = ["| key | values | default | |", "|---|---|---|---|"]
    for field in dataclasses.fields(block):
        kind, default = kinds[field.name], getattr(value, field.name)
        name = f"{place}.{field.name}".lstrip(".")
        inner = block_of(kind) or entry_of(kind)
        if name == "task":
            below += [(task(), f"task ({other})") for other, task in TASKS.items()]
        elif inner is not None and field.name != "arms":
            inside = f"{name}.NAME" if entry_of(kind) else name
            below.append((default if type(default) is inner else inner(), inside))
        elif field.name == "arms":
            below.append((inner(), "arms.NAME"))  # pyright: ignore[reportOptionalCall]
        if field.name != "overrides":
            cells = (f"`{field.name}`", values(block, field.name, kind), shown(default), said[field.name])
            rows.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
    yield f"## {place or 'The run'}\n\n{' '.join((block.__doc__ or '').split())}\n\n" + "\n".join(rows)
    for one, where in below:
        yield from sections(one, where)


def values(block: type, name: str, kind: Any) -> str:
    """What a setting may be."""
    key = f"{block.__name__}.{name}"
    null = " or null" if type(None) in getattr(kind, "__args__", ()) else ""
    if block_of(kind) or entry_of(kind) or name == "task":
        return f"a block{null}"
    if key in CHOICES:
        return ", ".join(f"`{choice}`" for choice in CHOICES[key])
    return describe(kind) + (f", {RANGES[key]}" if key in RANGES else "")


def shown(default: Any) -> str:
    """A default as YAML has it."""
    if default == MISSING:
        return "required"
    if dataclasses.is_dataclass(default):
        return "below"
    return f"`{default}`" if isinstance(default, str) and default.strip() else f"`{json.dumps(default)}`"


def test_the_page_says_what_the_dataclasses_say() -> None:
    text = HEAD + "\n" + "\n\n".join(sections(Config(), "")) + "\n"
    if "UPDATE_GOLDEN" in os.environ:
        PAGE.write_text(text)
    assert PAGE.read_text() == text, "UPDATE_GOLDEN=1 pytest tests/configs/test_config_page.py"
