"""The stages: their function, the config blocks that decide their result, and the version of what they compute.

`version` is bumped in the commit that changes what a stage computes: artifacts of the old version are made again.
A test holds each function's parameters against its row here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Home = Literal["ranks", "roles"]


@dataclass(frozen=True, slots=True)
class StageSpec:
    """`home`: ranks = the function runs on every learner rank; roles = it runs once and drives roles.

    asks_raters: how the task's raters judge enters its key.
    """

    function: str
    version: int
    blocks: tuple[str, ...]
    home: Home
    asks_raters: bool = False


STAGES: dict[str, StageSpec] = {
    "plant": StageSpec("sandwiching.training.plant:plant_knowledge", 1, ("model", "task", "plant"), "roles"),
    "sft": StageSpec("sandwiching.training.sft:train_sft", 1, ("model", "task", "data", "sft"), "ranks"),
    "pairs": StageSpec("sandwiching.training.pairs:sample_pairs", 1, ("model", "task", "data", "pairs"), "roles"),
    "choice": StageSpec("sandwiching.training.choice:choose_pairs", 1, ("model", "labels"), "roles"),
    "judgements": StageSpec(
        "sandwiching.training.judgements:collect_judgements", 1, ("task", "data", "judgements", "labels"), "roles", True
    ),
    "gate": StageSpec("sandwiching.training.gate:check_signal", 2, ("gate",), "roles"),
    "reward_model": StageSpec(
        "sandwiching.training.reward_model:train_reward_model", 3, ("model", "data", "reward_model"), "ranks"
    ),
    "ppo": StageSpec(
        "sandwiching.training.ppo:train_ppo", 4, ("model", "task", "data", "reward_model", "ppo"), "roles"
    ),
    "check": StageSpec(
        "sandwiching.oversight.check:check", 7, ("model", "task", "data", "check", "conditions"), "roles", True
    ),
    "monitor": StageSpec(
        "sandwiching.oversight.monitors.monitor:monitor", 2, ("model", "task", "data", "check", "monitor"), "roles"
    ),
    "report": StageSpec("sandwiching.oversight.report.stage:report", 2, ("check",), "roles"),
}
