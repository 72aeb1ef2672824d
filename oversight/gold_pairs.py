"""Held-out pairs of a task with gold: a right answer against a wrong one of the same form, and what weak raters say."""

from __future__ import annotations

from collections.abc import Sequence

from sandwiching.configs.schema import CheckConfig, DataConfig, TaskConfig
from sandwiching.oversight.approval import assigned
from sandwiching.oversight.expert_pairs import ExpertPair
from sandwiching.oversight.items import held_out_split
from sandwiching.tasks.capitals_gold import make_gold
from sandwiching.tasks.records import Pair, Rater
from sandwiching.tasks.registry import make_task
from sandwiching.tasks.splits import keep, rank
from sandwiching.training.text_scores import Scored


def gold_pairs(
    task: TaskConfig,
    data: DataConfig,
    check: CheckConfig,
    seed: int,
    raters: Sequence[Rater] | None = None,
    count: int | None = None,
) -> list[ExpertPair]:
    """The right candidate of each prompt of check.split against each wrong one.

    Judged by `count` (check.raters_per_response) of `raters` (the check panel). Raises ValueError for a task without
    gold, or a panel that is smaller.
    """
    gold, source = make_gold(task), make_task(task, data, seed)
    raters = source.weak_raters("check") if raters is None else raters
    count, found = check.raters_per_response if count is None else count, []
    for prompt in keep(source.prompts(held_out_split(check)), check.max_prompts, "check"):
        right, *others = gold.candidates(prompt)
        for wrong in others:
            first = rank("sides of gold pairs", f"{prompt.id} {wrong}")[0] % 2 == 0
            pair = Pair(f"{prompt.id} {wrong}", prompt, *((right, wrong) if first else (wrong, right)))
            said = [rater.judge(pair).preference for rater in assigned(prompt, raters, count)]
            votes = tuple(0.5 if one == "tie" else float((one == "a") == first) for one in said)
            better, worse = (Scored(prompt.text, text, True) for text in (right, wrong))
            found.append(ExpertPair(better, worse, prompt.group, votes))
    return found
