"""`sandwich elicit CONFIG`: what a few expert labels draw out of a run's policies, beside weak ones and a probe.

sandwich elicit planted --arm biased
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sandwiching.configs.load import load
from sandwiching.launch.arguments import ConfigPath, Overrides, RunDir, StorePath

Arms = Annotated[
    list[str] | None, typer.Option("--arm", help="An arm whose policy is asked too, beside the SFT policy; repeat it.")
]


def elicit_command(
    config: ConfigPath,
    overrides: Overrides = None,
    arm: Arms = None,
    run_dir: RunDir = None,
    store: StorePath = Path("runs/store"),
) -> None:
    """Make what is missing of the run up to its check, then give each policy 0, 8, 32 and 128 labels of experts and of
    weak raters by SFT, and fit probes to the same: elicitation.txt, .svg and .json in the run's folder. One look."""
    from sandwiching.launch.attempts import Attempt
    from sandwiching.launch.graph import build_graph
    from sandwiching.training.artifacts import Store

    settings = load(config, overrides or ())
    folder, place = run_dir or Path("runs") / settings.name, Store(store)
    with Attempt(folder) as attempt:
        from sandwiching.launch.local import LocalRoles
        from sandwiching.launch.session import run_session
        from sandwiching.oversight.drawing_out import draw_out, look_at_gold, require_gold
        from sandwiching.oversight.elicitation_report import write_elicitation
        from sandwiching.oversight.item_records import item_records
        from sandwiching.oversight.outcomes import FLOOR, policy_name

        require_gold(settings, arm or ())
        run_session(settings, place, folder, ray=False, only="check", attempt=attempt)
        node = build_graph(settings).of("check")[0]
        checked = node.folder(place)
        assert checked is not None
        parents = {name: found for name, parent in node.parents.items() if (found := parent.folder(place))}
        names = [FLOOR, *(arm or ())]
        standing, kept = look_at_gold(settings, names, checked)
        items, found = draw_out(settings, names, parents, LocalRoles(settings.resources))
        record = item_records(settings.check.store, checked).record()
        correct = {
            name: [record["policies"][policy_name(name, seed)]["correct"] for seed in settings.seeds] for name in names
        }
        text = write_elicitation(found, correct, items, settings.check.confidence, folder, standing, kept)
        attempt.console.print(text, markup=False, highlight=False, soft_wrap=True)
