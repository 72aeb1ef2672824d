"""Before a reward model is trained: do the weak judgements carry a signal at all?

judgements.jsonl.gz -> votes -> gate.json, gate.txt; a verdict for which the config says stop ends the run (exit code 3)

sandwich run capitals gate.on_no=stop
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from sandwiching.configs.schema import GateConfig, ResourcesConfig
from sandwiching.reward_model.reliability.gate import judge_signal
from sandwiching.tasks.readers import read_judgements
from sandwiching.training.artifacts import StageFolder, StoppedByGate, write_atomic
from sandwiching.training.reward_data import FILE
from sandwiching.training.roles import Roles
from sandwiching.training.vote_table import vote_table

STAGE = "gate"
SENTENCE = "gate.txt"


def check_signal(
    *,
    gate: GateConfig,
    seed: int,
    resources: ResourcesConfig,
    parents: Mapping[str, Path],
    folder: StageFolder,
    roles: Roles,
) -> dict[str, float]:
    """Write gate.json and gate.txt. Returns the numbers behind the verdict.

    Raises StoppedByGate for a verdict that the config does not let pass.
    """
    table = vote_table([row.judgement for row in read_judgements(parents["judgements"] / FILE)])
    found = judge_signal(
        table.votes,
        table.group_code_P,
        table.score_first_E,
        table.score_second_E,
        permutations=gate.permutations,
        max_p=gate.max_p,
        seed=seed,
    )
    folder.check_attempt()
    write_atomic(folder.path / "gate.json", json.dumps(asdict(found), indent=1) + "\n")
    write_atomic(folder.path / SENTENCE, f"{found.verdict}: {found.sentence}\n")
    setting = {"NO": ("on_no", gate.on_no), "DUPLICATES": ("on_duplicates", gate.on_duplicates)}.get(found.verdict)
    if setting is not None and setting[1] == "stop":
        raise StoppedByGate(
            f"stopped by the gate, verdict {found.verdict}: {found.sentence} "
            f"To train all the same set gate.{setting[0]}=warn"
        )
    half = found.split_half
    numbers = {
        "yes": float(found.verdict == "YES"),
        "split_half": math.nan if half is None else half.agreement,
        "alpha": math.nan if found.alpha is None else found.alpha,
        "permutation_p": math.nan if found.permutation_p is None else found.permutation_p,
    }
    return {f"{STAGE}/{name}": value for name, value in numbers.items() if math.isfinite(value)}
