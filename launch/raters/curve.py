"""`sandwich raters curve CONFIG`: accuracy against gold by number of labels, for each way to choose the pairs.

sandwich raters curve labels
"""

from __future__ import annotations

from pathlib import Path

from sandwiching.configs.load import arm_config, load
from sandwiching.launch.arguments import ConfigPath, Overrides, RunDir, StorePath


def curve_command(
    config: ConfigPath, overrides: Overrides = None, run_dir: RunDir = None, store: StorePath = Path("runs/store")
) -> None:
    """Sample the pairs that are missing (SFT, pairs), then spend labels round by round with probes in this process,
    and draw accuracy against gold by labels (one look): labels.txt, labels.svg and labels.json in the run's folder."""
    from sandwiching.launch.attempts import Attempt
    from sandwiching.launch.graph import build_graph
    from sandwiching.training.artifacts import Store

    settings = load(config, overrides or ())
    folder, place = run_dir or Path("runs") / settings.name, Store(store)
    with Attempt(folder) as attempt:
        from sandwiching.launch.session import run_session
        from sandwiching.oversight.label_curve import look_at_gold, measure, require_probes, write_curve
        from sandwiching.policy.base_models import resolve

        require_probes(settings)
        run_session(settings, place, folder, ray=False, only="pairs", attempt=attempt)
        trunks, pools = {}, {}
        for node in build_graph(settings).of("pairs"):
            made = node.folder(place)
            assert made is not None
            for arm in node.arms:
                seen = arm_config(settings, arm).model
                sft = node.parents["sft"].folder(place) if "sft" in node.parents else None
                trunks[arm, node.labels["seed"]] = sft / "model" if sft else resolve(seen.path, seen.revision)
                pools[arm, node.labels["seed"]] = made
        standing, kept = look_at_gold(settings, pools)
        gold, found = measure(settings, trunks, pools)
        text = write_curve(settings, gold, found, folder, standing, kept)
        attempt.console.print(text, markup=False, highlight=False, soft_wrap=True)
