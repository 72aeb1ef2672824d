"""Elicitation of a run's policies: its prompts, labels and models put together for elicitation.py.

One counted look: every policy, seed and number of labels is asked the same held-out prompts.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from tqdm import tqdm

from sandwiching.configs.schema import Config
from sandwiching.oversight.elicitation import COUNTS, Drawn, Label, Subject, Who, constant, drawn_out, labelled
from sandwiching.oversight.expert_store import Look, Standing, make_or_open, place_of, refuse_cut
from sandwiching.oversight.items import Item, checked_prompts, items_of
from sandwiching.oversight.policies import find_policies
from sandwiching.policy.tokenization import load_tokenizer
from sandwiching.tasks.capitals_gold import make_gold
from sandwiching.tasks.knowledge import cells
from sandwiching.tasks.registry import make_task
from sandwiching.training.roles import EngineSpec, Roles


def require_gold(config: Config, arms: Collection[str]) -> None:
    """Raises ValueError for a task without gold or SFT, or an arm that the run has not."""
    if config.task.name == "judgements" or config.sft is None or config.ppo is None:
        raise ValueError("elicit: needs a task with gold, SFT and PPO, as in planted.yaml")
    unknown = sorted(set(arms) - config.arms.keys())
    if unknown:
        raise ValueError(f"elicit: no arm {', '.join(unknown)}; the arms are {', '.join(config.arms)}")


def look_at_gold(config: Config, names: Sequence[str], checked: Path) -> tuple[Standing, Path]:
    """Pay for asking these policies, trained anew, about the prompts of the check in `checked`: one look; the same one
    again is paid for already. Returns it, and the folder of the expert store for what is found item by item.

    Raises ValueError for another project's store, BrokenLedger for a ledger that is not whole.
    """
    checked = checked.resolve()
    store = make_or_open(place_of(config.check.store, checked.parent), config.check.looks, config.data.splits.salt)
    refuse_cut(store, checked.parent)
    known = {entry["name"]: entry["held_out"] for entry in store.ledger.entries()}
    look = Look(
        name="-".join(["elicit", checked.name, *sorted(names)]),
        run=config.name,
        split=config.check.split,
        purpose="what labels draw out",
        artifacts={"check": checked.name},
        candidates=len(names),
        held_out=known.get(checked.name, ""),
    )
    return store.look(look, store.budget if config.check.looks is None else config.check.looks), store.items(look.name)


def draw_out(
    config: Config, names: Sequence[str], parents: Mapping[str, Path], roles: Roles
) -> tuple[list[Item], dict[str, list[list[Drawn]]]]:
    """The items of the check, and by policy, for each seed what labels drew out. parents: the check's."""
    policies = find_policies(config.model, config.check, list(config.arms), config.seeds, parents)
    first = policies.models[names[0], config.seeds[0]]
    engine = roles.engine(EngineSpec(first, config.model, adapters=False))
    tokenizer, gold = load_tokenizer(first, config.model.pad_token), make_gold(config.task)
    task = make_task(config.task, config.data, config.seeds[0])
    prompts, _ = checked_prompts(task, config.model, config.data, config.check, tokenizer)
    items = items_of(prompts, gold, cells(config.task, prompts))
    assert config.sft is not None
    found: dict[str, list[list[Drawn]]] = {name: [] for name in names}
    for seed in tqdm(config.seeds, desc="elicitation", unit="seed"):
        source = make_task(config.task, config.data, seed)
        training = source.prompts("train")
        count = min(max(COUNTS), len(training))
        labels: dict[Who, list[Label]] = {
            "expert": labelled(training, gold, None, count),
            "weak": labelled(training, gold, source.weak_raters("training"), count),
        }
        for name in names:
            subject = Subject(
                folder=policies.models[name, seed],
                engine=engine,
                tokenizer=tokenizer,
                model=config.model,
                optimizer=constant(config.sft.optimizer),
                micro_batch=config.resources.micro_batch,
                seed=seed,
            )
            found[name].append(drawn_out(subject, items, labels))
    return items, found
