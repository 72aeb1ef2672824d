"""Accuracy against gold by number of labels, and whether a way to choose pairs needs fewer of them than chance.

Every arm, seed and round is asked the same held-out pairs.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from tqdm import tqdm

from sandwiching.configs.keyed import key_settings
from sandwiching.configs.load import arm_config
from sandwiching.configs.schema import Config
from sandwiching.oversight.expert_pairs import ExpertPair, fitting_pairs
from sandwiching.oversight.expert_store import Look, Standing, held_out_ids, make_or_open, place_of, refuse_cut
from sandwiching.oversight.gold_pairs import gold_pairs
from sandwiching.oversight.label_figure import label_figure
from sandwiching.oversight.label_lines import comparisons, lines_of, outcomes
from sandwiching.oversight.label_spending import Features, Spent, read_all, spend
from sandwiching.oversight.plots import save
from sandwiching.policy.base_models import resolve
from sandwiching.policy.tokenization import load_tokenizer
from sandwiching.tasks.registry import make_task
from sandwiching.training.artifacts import stage_key, write_atomic
from sandwiching.training.pairs import read_pairs

HOW_BLOCKS = ("name", "resources", "tracking", "slurm", "ray", "sweep")
"""Blocks that change no curve."""


def require_probes(config: Config) -> None:
    """Raises ValueError for a config whose rounds are not those of probes on the same pairs."""
    if config.ppo is not None or config.task.name == "judgements":
        raise ValueError("raters curve: set ppo=null and a task with gold, as shipped in labels.yaml")
    for name in config.arms:
        arm = arm_config(config, name)
        if arm.reward_model.kind != "probe":
            raise ValueError(f"raters curve: arms.{name}: reward_model.kind={arm.reward_model.kind}; set it to probe")
        if arm.labels.pairs_per_round is None or arm.labels.rounds != config.labels.rounds:
            raise ValueError(f"raters curve: arms.{name}: set labels.pairs_per_round, and labels.rounds for the run")
        if arm.judgements.raters not in ("task", "simulated"):
            raise ValueError(
                f"raters curve: arms.{name}: judgements.raters={arm.judgements.raters}; only simulated people"
            )


def look_at_gold(config: Config, pools: Mapping[tuple[str, int], Path]) -> tuple[Standing, Path]:
    """Pay for the curve: one look, whatever it holds; the same one again is paid for already. Returns it, and where in
    the expert store what is found pair by pair is kept.

    Raises ValueError for another project's store, BrokenLedger for a ledger that is not whole.
    """
    artifacts = next(iter(pools.values())).parent
    store = make_or_open(place_of(config.check.store, artifacts), config.check.looks, config.data.splits.salt)
    refuse_cut(store, artifacts)
    named = {f"{arm}/seed{seed}": pool.name for (arm, seed), pool in pools.items()}
    decides = {name: value for name, value in key_settings(config).items() if name not in HOW_BLOCKS}
    source = make_task(config.task, config.data, config.seeds[0])
    look = Look(
        name=f"curve-{stage_key({'pools': named, 'config': decides})}",
        run=config.name,
        split=config.check.split,
        purpose="accuracy by labels",
        artifacts=named,
        candidates=len(config.arms),
        held_out=store.remember(held_out_ids(source)),
    )
    return store.look(look, store.budget if config.check.looks is None else config.check.looks), store.items(look.name)


def measure(
    config: Config, trunks: Mapping[tuple[str, int], Path], pools: Mapping[tuple[str, int], Path]
) -> tuple[list[ExpertPair], dict[str, list[list[Spent]]]]:
    """The gold pairs, and by arm a row a seed of its rounds. trunks, pools: of each arm and seed, the folder of the
    model whose features are read, and the pairs artifact."""
    tokenizer = load_tokenizer(resolve(config.model.path, config.model.revision), config.model.pad_token)
    asked = gold_pairs(config.task, config.data, config.check, config.seeds[0])
    gold, _ = fitting_pairs(asked, tokenizer, config.model, config.data)
    found: dict[str, list[list[Spent]]] = {arm: [] for arm in config.arms}
    kept: dict[Path, Features] = {}
    for seed in tqdm(config.seeds, desc="seeds", unit="seed"):
        for arm in config.arms:
            trunk, pairs = trunks[arm, seed], read_pairs(pools[arm, seed])
            features = kept.setdefault(trunk, Features(tokenizer, config.model))
            read_all(features, trunk, pairs, gold, config.resources.micro_batch)
            found[arm].append(spend(arm_config(config, arm), arm, seed, pairs, gold, features))
        kept.clear()
    return gold, found


def write_curve(
    config: Config,
    gold: Sequence[ExpertPair],
    found: Mapping[str, list[list[Spent]]],
    folder: Path,
    standing: Standing,
    kept: Path,
) -> str:
    """Write labels.json, labels.txt and labels.svg, and what was found pair by pair into `kept`, of the expert store.

    Returns the text.
    """
    confidence = config.check.confidence
    lines = lines_of(config, gold, found)
    compared = comparisons(lines, gold, found, confidence)
    covers = next(iter(lines.values())).accuracy[0].covers
    note = (
        f"{len(gold)} {config.check.split} pairs, {len(config.seeds)} seeds; {100 * confidence:g} % intervals; {covers}"
    )
    rows = [
        f"{name:<18} {line.tier:<7} {line.choose:<9} {labels:>6} labels {units:>8g} units  {one.estimate:.3f} "
        f"[{one.low:.3f}, {one.high:.3f}]"
        for name, line in lines.items()
        for labels, units, one in zip(line.labels, line.units, line.accuracy, strict=True)
    ]
    text = (
        "\n".join([standing.sentence, "Right against gold by labels; " + note, *rows, *(one.said for one in compared)])
        + "\n"
    )
    record = {
        "split": config.check.split,
        "ledger": {**asdict(standing), "valid": standing.valid, "sentence": standing.sentence},
        "lines": {name: asdict(line) for name, line in lines.items()},
        "compared": [{**asdict(one), "said": one.said} for one in compared],
    }
    by_pair = {
        "pairs": [asdict(pair) for pair in gold],
        "spent": {name: [[asdict(one) for one in row] for row in rows] for name, rows in found.items()},
    }
    for place in (folder, kept):
        place.mkdir(parents=True, exist_ok=True)
    write_atomic(kept / "labels.json", json.dumps(by_pair))
    write_atomic(folder / "labels.json", json.dumps(record))
    write_atomic(folder / "labels.txt", text)
    seeds = {name: outcomes(rows).mean(axis=2).T.tolist() for name, rows in found.items()}
    save(label_figure(lines, seeds, [one.said.split(";")[0] for one in compared], note), folder / "labels.svg")
    return text
