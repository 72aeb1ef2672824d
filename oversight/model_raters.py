"""A language model as a rater of the task capitals: alone, and with a critique that argues for the right or the wrong
answer. Accuracy against gold on held-out prompts.

    python -m sandwiching.oversight.model_raters [--rater smollm2-135m] [--assistant smollm2-135m] [--prompts 200]

Minutes on one CPU core. Nothing is trained, and one split is opened once.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from sandwiching.configs.schema import CapitalsTask, DataConfig
from sandwiching.oversight.intervals import Interval, mean_interval, share_interval
from sandwiching.policy.base_models import resolve
from sandwiching.policy.engine import TransformersEngine
from sandwiching.policy.tokenization import eos_token_id, load_tokenizer, pad_token_id
from sandwiching.tasks.answers import misleading
from sandwiching.tasks.capitals import Capitals
from sandwiching.tasks.capitals_gold import make_gold
from sandwiching.tasks.model_raters import Critic, Generator, ModelRater, Side, by_choice
from sandwiching.tasks.records import Pair, Prompt
from sandwiching.tasks.splits import keep, rank
from sandwiching.training.language_model import LanguageModel

CHUNK = 32
"""Pairs asked about at once."""
ANSWER_TOKENS = 32
"""Longest critique."""
HELP = ("alone", "honest", "dishonest")


@dataclass(frozen=True, slots=True)
class Asked:
    """A right and a wrong answer to one prompt. right: the side of the right one; lure: the wrong one is the more
    familiar name."""

    pair: Pair
    right: Side
    lure: bool


@dataclass(frozen=True, slots=True)
class Verdicts:
    """P(the right answer is better), one row an order [2, N]: as the pair stands, and swapped; and the critiques."""

    right_2N: np.ndarray
    critiques: list[str] | None

    @property
    def correct_N(self) -> np.ndarray:
        """1 where the mean over both orders is for the right answer, 1/2 at a tie."""
        mean_N = self.right_2N.mean(axis=0)
        return np.where(mean_N == 0.5, 0.5, mean_N > 0.5).astype(float)

    @property
    def orders_agree_N(self) -> np.ndarray:
        """1 where both orders are for the same answer."""
        return ((self.right_2N > 0.5).sum(axis=0) != 1).astype(float)


def asked_pairs(task: CapitalsTask, capitals: Capitals, prompts: Sequence[Prompt]) -> list[Asked]:
    """The right candidate against the misleading one, or another wrong one where there is none; sides by hash."""
    gold = make_gold(task)
    found = []
    for prompt in prompts:
        right, wrong, *_ = gold.candidates(prompt)
        first = rank("sides of model raters", prompt.id)[0] % 2 == 0
        pair = Pair(prompt.id, prompt, *((right, wrong) if first else (wrong, right)))
        found.append(Asked(pair, "a" if first else "b", misleading(capitals.facts[prompt.id]) is not None))
    return found


def verdicts(model: Generator, asked: Sequence[Asked], critiques: Sequence[str] | None, label: str) -> Verdicts:
    """What the rater says of every pair in both orders."""
    rater, found = ModelRater("rater", "weak", by_choice(model)), []
    for start in tqdm(range(0, len(asked), CHUNK), desc=label, unit="chunk"):
        part = asked[start : start + CHUNK]
        helped = [None] * len(part) if critiques is None else critiques[start : start + CHUNK]
        found += rater.ask([one.pair for one in part], helped)
    a_2N = np.array([[float(one.first), float(one.second)] for one in found]).T
    right_2N = np.where([one.right == "a" for one in asked], a_2N, 1 - a_2N)
    return Verdicts(right_2N, None if critiques is None else list(critiques))


def critiques_of(model: Generator, asked: Sequence[Asked], honest: bool) -> list[str]:
    """A critique of each pair: for the right answer if honest, else for the wrong one."""
    critic, found = Critic(model, honest), []
    for start in tqdm(range(0, len(asked), CHUNK), desc="honest" if honest else "dishonest", unit="chunk"):
        part = asked[start : start + CHUNK]
        found += critic.critiques([one.pair for one in part], [one.right for one in part])
    return found


def summary(found: dict[str, Verdicts], asked: Sequence[Asked], confidence: float) -> dict[str, dict[str, Interval]]:
    """By kind of help: accuracy over all pairs and where the wrong answer is the familiar one, the change that help
    makes, how often both orders agree, and how often the answer shown first is taken."""
    groups = [one.pair.prompt.group for one in asked]
    lures = [place for place, one in enumerate(asked) if one.lure]
    alone_N = found["alone"].correct_N

    def share(values_N: np.ndarray, places: Sequence[int] | None = None) -> Interval:
        kept = range(len(asked)) if places is None else places
        return share_interval(values_N[list(kept)][None], [groups[place] for place in kept], confidence)

    right_first_2N = np.array([[(one.right == "a") != swapped for one in asked] for swapped in (False, True)])
    table = {}
    for name, one in found.items():
        first_N = np.where(right_first_2N, one.right_2N, 1 - one.right_2N)
        table[name] = {
            "accuracy": share(one.correct_N),
            "where the wrong name is the familiar one": share(one.correct_N, lures),
            "change by help": mean_interval((one.correct_N - alone_N)[None], groups, confidence),
            "orders agree": share(one.orders_agree_N),
            "first taken": share((first_N > 0.5).mean(axis=0)),
        }
    return table


def local(name: str) -> LanguageModel:
    """A model by folder, hub id or built-in name, in this process."""
    folder = resolve(name)
    tokenizer = load_tokenizer(folder)
    engine = TransformersEngine(
        folder, pad_token_id=pad_token_id(tokenizer), eos_token_id=eos_token_id(tokenizer), max_batch=CHUNK
    )
    return LanguageModel(engine, tokenizer, ANSWER_TOKENS)


def measure(rater: str, assistant: str, split: str, prompts: int | None) -> tuple[list[Asked], dict[str, Verdicts]]:
    """Pairs of a held-out split, and the verdicts by kind of help."""
    task = CapitalsTask(name="capitals")
    capitals = Capitals(task, DataConfig(), seed=0)
    held_out = capitals.prompts("dev" if split == "dev" else "final")
    asked = asked_pairs(task, capitals, keep(held_out, prompts, "model raters"))
    helper = local(assistant)
    texts = {help_: critiques_of(helper, asked, help_ == "honest") for help_ in HELP[1:]}
    judge = helper if rater == assistant else local(rater)
    return asked, {help_: verdicts(judge, asked, texts.get(help_), f"rater, {help_}") for help_ in HELP}


def main() -> None:
    """Print the table; write every verdict with --output."""
    parser = argparse.ArgumentParser(description="A language model as a rater of the task capitals, against gold.")
    parser.add_argument("--rater", default="smollm2-135m", help="the model that judges, as in model.path")
    parser.add_argument("--assistant", default="smollm2-135m", help="the model that writes critiques")
    parser.add_argument("--split", choices=("dev", "final"), default="final", help="held-out prompts")
    parser.add_argument("--prompts", type=int, help="only so many, by hash")
    parser.add_argument("--confidence", type=float, default=0.95, help="level of the intervals")
    parser.add_argument("--output", type=Path, help="JSON of the table, pairs, critiques and verdicts")
    arguments = parser.parse_args()
    asked, found = measure(arguments.rater, arguments.assistant, arguments.split, arguments.prompts)
    table = summary(found, asked, arguments.confidence)
    groups = len({one.pair.prompt.group for one in asked})
    print(f"{arguments.rater} as a rater: {len(asked)} pairs of {groups} countries, split {arguments.split}")
    for name, row in table.items():
        print(name)
        for what, one in row.items():
            print(f"  {what:<42} {one.estimate:6.3f} [{one.low:.3f}, {one.high:.3f}] of {one.items}")
    if arguments.output is not None:
        rows = {name: {"right": one.right_2N.tolist(), "critiques": one.critiques} for name, one in found.items()}
        summaries = {name: {what: asdict(one) for what, one in row.items()} for name, row in table.items()}
        whole = {"summary": summaries, "pairs": [asdict(one) for one in asked], "verdicts": rows}
        arguments.output.write_text(json.dumps(whole))


if __name__ == "__main__":
    main()
