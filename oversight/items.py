"""The held-out prompts of a check as items: candidates to choose among, and the cell of the knowledge table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from transformers import PreTrainedTokenizerBase

from sandwiching.configs.schema import CheckConfig, DataConfig, ModelConfig
from sandwiching.tasks.records import Gold, Prompt, Split, Task
from sandwiching.tasks.splits import keep
from sandwiching.training.prompts import fitting_prompts


@dataclass(frozen=True, slots=True)
class Item:
    """A held-out prompt, its candidates (the right one first), and its cell of the knowledge table."""

    prompt: Prompt
    candidates: tuple[str, ...]
    cell: str


def held_out_split(check: CheckConfig) -> Split:
    """check.split. Raises ValueError for another split than dev or final."""
    if check.split == "dev":
        return "dev"
    if check.split == "final":
        return "final"
    raise ValueError(f"check.split: must be final or dev, is {check.split!r}; training prompts are no check")


def checked_prompts(
    task: Task, model: ModelConfig, data: DataConfig, check: CheckConfig, tokenizer: PreTrainedTokenizerBase
) -> tuple[list[Prompt], list[Prompt]]:
    """Held-out prompts of the check, and dev prompts of its curves: chosen by hash, those that fit, as in training.

    Raises ValueError when some are too long with a response and data.too_long is error, or none is left.
    """

    def fitting(split: Split, count: int | None) -> list[Prompt]:
        kept = keep(task.prompts(split), count, "check")
        room = check.sampling.max_new_tokens
        return fitting_prompts(kept, tokenizer, room=room, max_length=model.max_length, too_long=data.too_long)[0]

    return fitting(held_out_split(check), check.max_prompts), fitting("dev", check.curve_prompts)


def items_of(prompts: Sequence[Prompt], gold: Gold, cells: Mapping[str, str]) -> list[Item]:
    """Raises ValueError for no prompts, or a prompt without a wrong candidate."""
    items = [Item(prompt, gold.candidates(prompt), cells[prompt.id]) for prompt in prompts]
    lacking = [item.prompt.id for item in items if len(item.candidates) < 2]
    if lacking or not items:
        named = ", ".join(lacking[:5]) if items else "no prompts at all"
        raise ValueError(f"check: forced choice needs a wrong candidate beside the right one; lacking: {named}")
    return items
