"""`sandwich phase CONFIG`: the phase diagram of a run whose arms have raters of different competence and bias.

sandwich phase phase --no-ray
"""

from __future__ import annotations

import json
from pathlib import Path

from sandwiching.configs.load import load
from sandwiching.launch.arguments import ConfigPath, Overrides, RunDir, StorePath, WithRay


def phase_command(
    config: ConfigPath,
    overrides: Overrides = None,
    run_dir: RunDir = None,
    store: StorePath = Path("runs/store"),
    ray: WithRay = True,
) -> None:
    """Make what is missing of the run up to its check, then judge every arm by raters like its own, beside the null of
    its competence: phase.md, phase.svg and phase.json in the run's folder."""
    from sandwiching.launch.attempts import Attempt
    from sandwiching.launch.graph import build_graph
    from sandwiching.training.artifacts import Store

    settings = load(config, overrides or ())
    folder, place = run_dir or Path("runs") / settings.name, Store(store)
    with Attempt(folder) as attempt:
        from sandwiching.launch.session import run_session
        from sandwiching.oversight.declaration import CONDITIONS_FILE
        from sandwiching.oversight.expert_store import read_standing
        from sandwiching.oversight.item_records import item_records
        from sandwiching.oversight.phase import places
        from sandwiching.oversight.phase_figure import Claim, write_phase

        places(settings)
        run_session(settings, place, folder, ray=ray, only="check", attempt=attempt)
        checked = build_graph(settings).of("check")[0].folder(place)
        assert checked is not None
        found = item_records(settings.check.store, checked)
        standing = read_standing(checked)
        assert standing is not None
        claim = Claim(standing, json.loads((checked / CONDITIONS_FILE).read_text())["sentence"])
        table = write_phase(settings, found.record(), found.trails(), folder, claim)
        attempt.console.print(table, markup=False, highlight=False, soft_wrap=True)
