"""Which model of raters' errors makes the better reward: the same judgements and features, arms that differ in
reward_model.noise alone, linear probes on SmolLM2's frozen features, paired on held-out pairs.

    python benchmarks/noise.py --world longer        # planted: 30 % of the raters always take the longer answer
    python benchmarks/noise.py --world spam          # planted: 30 % of the raters guess
    python benchmarks/noise.py --world everyone      # planted: each rater takes the longer answer half of the time
    python benchmarks/noise.py --judgements convincing_arguments.jsonl.gz

Planted worlds: facts of the task `capitals`, a right and a wrong answer, each as a name and as a sentence, so that all
combinations of right and longer occur; 40 raters, of whom 70 % choose the right one with a probability of .6 to .9
each; three raters a pair. A seed draws raters and votes; 35 % of the countries are held out.

From a file: weak judgements of the training topics of configs/arguments.yaml; held out are pairs with an expert verdict
on its four final topics. A seed draws the raters with replacement, as a member of an ensemble has them.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from features import features
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from sandwiching.configs.load import load
from sandwiching.configs.schema import CapitalsTask, DataConfig, ModelConfig, RewardModelConfig
from sandwiching.oversight.expert_pairs import expert_pairs, fitting_pairs
from sandwiching.oversight.intervals import Interval, mean_interval
from sandwiching.oversight.spread import Array
from sandwiching.policy.base_models import resolve
from sandwiching.policy.tokenization import encode, load_tokenizer, pad_token_id
from sandwiching.tasks.answers import candidates
from sandwiching.tasks.capitals import Capitals
from sandwiching.tasks.judgements import JudgementsFile
from sandwiching.tasks.judgements_gold import judged_by_all
from sandwiching.tasks.readers import JudgementRow
from sandwiching.tasks.records import Judgement, Prompt
from sandwiching.training.reward_data import RewardData, judgement_columns, usable_judgements
from sandwiching.training.reward_member import loss_terms, member_seed
from sandwiching.training.reward_probe import fitted_head
from sandwiching.training.reward_raters import rater_votes

ARMS = ("none", "smoothing", "per_rater", "per_rater_context")
RATERS, BAD, RATERS_A_PAIR = 40, 12, 3
Texts = list[list[int]]


@dataclass(frozen=True)
class Held:
    """Held-out pairs: token ids of the better and of the worse response, and what clusters them."""

    better: Texts
    worse: Texts
    groups: list[str]


def answers(task: Capitals, prompt: Prompt) -> list[tuple[str, str]]:
    """A right and a wrong answer to the prompt, as names and as sentences."""
    fact = task.facts[prompt.id]
    right, wrong = candidates(fact)[:2]
    forms = ((name.text, fact.sentence(name)) for name in (right, wrong))
    return list(zip(*forms, strict=True))


def verdict(world: str, rater: int, skill: float, right: str, wrong: str, draw: random.Random) -> bool:
    """Whether the rater prefers the right one."""
    longer = len(right) > len(wrong)
    if world == "everyone":
        return longer if draw.random() < 0.5 else draw.random() < skill
    if rater >= BAD:
        return draw.random() < skill
    return longer if world == "longer" else draw.random() < 0.5


def planted(world: str, task: Capitals, seed: int) -> list[JudgementRow]:
    """Judgements of the training prompts."""
    draw = random.Random(f"{world}/{seed}")
    skills = [draw.uniform(0.6, 0.9) for _ in range(RATERS)]
    rows = []
    for prompt in task.prompts("train"):
        rights, wrongs = zip(*answers(task, prompt), strict=True)
        for pair, (right, wrong) in enumerate((r, w) for r in rights for w in wrongs):
            turned = draw.random() < 0.5
            for rater in draw.sample(range(RATERS), RATERS_A_PAIR):
                wins = verdict(world, rater, skills[rater], right, wrong, draw)
                a, b = (wrong, right) if turned else (right, wrong)
                judged = Judgement(
                    prompt=prompt.text,
                    response_a=a,
                    response_b=b,
                    preference="b" if wins == turned else "a",
                    rater=f"{'bad' if rater < BAD else 'fair'} {rater}",
                    tier="weak",
                    group=prompt.group,
                    pair=f"{prompt.id}/{pair}",
                )
                rows.append(JudgementRow(judged, True, True))
    return rows


def planted_pairs(task: Capitals, tokenizer: PreTrainedTokenizerBase, model: ModelConfig) -> Held:
    """All pairs of the held-out countries."""
    held = Held([], [], [])
    for prompt in task.prompts("final"):
        rights, wrongs = zip(*answers(task, prompt), strict=True)
        for right in rights:
            for wrong in wrongs:
                held.better.append(ids(tokenizer, model, prompt, right))
                held.worse.append(ids(tokenizer, model, prompt, wrong))
                held.groups.append(prompt.group)
    return held


def ids(tokenizer: PreTrainedTokenizerBase, model: ModelConfig, prompt: Prompt, response: str) -> list[int]:
    """Token ids of a finished response."""
    return [token for part in encode(tokenizer, prompt.text, response, True, model.separator) for token in part]


def real_pairs(file: JudgementsFile, tokenizer: PreTrainedTokenizerBase, model: ModelConfig, data: DataConfig) -> Held:
    """Pairs with an expert verdict on the final topics."""
    pairs, _ = fitting_pairs(expert_pairs(judged_by_all(file, "final")), tokenizer, model, data)
    sides = [
        [
            [*before, *after]
            for before, after in (encode(tokenizer, x.prompt, x.response, x.finished, model.separator) for x in side)
        ]
        for side in ([pair.better for pair in pairs], [pair.worse for pair in pairs])
    ]
    return Held(sides[0], sides[1], [pair.group for pair in pairs])


def right(scores_N: Tensor, place: dict[tuple[int, ...], int], held: Held) -> Array:
    """1 where the better response scores higher, ties half [N]."""
    better, worse = (scores_N[[place[tuple(text)] for text in side]] for side in (held.better, held.worse))
    return ((better - worse).sign().double().numpy() + 1) / 2


def fit(noise: str, data: RewardData, features_ND: Tensor, seed: int, members: int) -> tuple[Tensor, str]:
    """Weights of the head, and what was learned of raters in a few words."""
    config = RewardModelConfig(kind="probe", noise=noise, members=members)
    terms, columns = loss_terms(data, config, member_seed(seed, 0)), data.train
    head_D, raters = fitted_head(features_ND, columns, terms, config)
    if raters is None:
        return head_D, ""
    return head_D, learned(raters.rates(columns, rater_votes(columns, terms), terms.length_unit))


def learned(rates: dict) -> str:
    """Population, and means over planted kinds of raters where there are any."""
    rows = rates["raters"]
    words = [f"population {rates['population']['error']:.2f}"]
    for kind in ("fair", "bad"):
        own = [row for name, row in rows.items() if name.startswith(kind)]
        if own:
            words.append(f"{kind} " + ", ".join(f"{key} {np.mean([r[key] for r in own]):.2f}" for key in own[0]))
    words.append(f"above half {sum(row['error'] > 0.5 for row in rows.values())} of {len(rows)}")
    return "; ".join(words)


def run(sets: Sequence[RewardData], held: Held, arguments: argparse.Namespace, pad: int, members: int) -> None:
    """Fit every arm on the set of every seed, and print the table."""
    judged = {text for data in sets for text in data.texts}
    texts = sorted(judged.union(map(tuple, held.better), map(tuple, held.worse)))
    place = {text: i for i, text in enumerate(texts)}
    features_ND = features(texts, arguments.model, "bf16", pad, arguments.cache)
    outcomes: dict[str, list[Array]] = {arm: [] for arm in ARMS}
    for seed, data in enumerate(sets):
        own_ND = features_ND[[place[text] for text in data.texts]]
        for arm in ARMS:
            head_D, words = fit(arm, data, own_ND, seed, members)
            outcomes[arm].append(right(features_ND @ head_D, place, held))
            print(f"seed {seed} {arm}: {outcomes[arm][-1].mean():.4f} {words}", flush=True)
    print(f"\n{len(sets[0].train)} judgements, {len(held.groups)} held-out pairs, {len(set(held.groups))} groups\n")
    print("| noise | agreement | over none |\n|---|---|---|")
    for arm in ARMS:
        values_SN = np.stack(outcomes[arm])
        over = "" if arm == "none" else words_of(mean_interval(values_SN - np.stack(outcomes["none"]), held.groups))
        print(f"| {arm} | {words_of(mean_interval(values_SN, held.groups))} | {over} |")


def words_of(interval: Interval) -> str:
    """Estimate and limits."""
    return f"{interval.estimate:.3f} [{interval.low:.3f}, {interval.high:.3f}]"


def in_order(rows: Sequence[JudgementRow], tokenizer: PreTrainedTokenizerBase, model: ModelConfig) -> RewardData:
    """All judgements to train on; none is kept aside."""
    texts, text_a, text_b, kept = usable_judgements(rows, tokenizer, model, "drop")
    columns = judgement_columns([rows[i] for i in kept], [text_a[i] for i in kept], [text_b[i] for i in kept])
    return RewardData(tuple(tuple(ids) for ids in texts), columns, columns.select(torch.arange(0)))


def main() -> None:
    """Print a line a fit, then the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--world", choices=["longer", "spam", "everyone"])
    source.add_argument("--judgements", type=Path)
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--cache", type=Path, default=Path("runs/features"), help="folder for the trunk's features")
    arguments = parser.parse_args()
    tokenizer = load_tokenizer(resolve(arguments.model), None)
    pad = pad_token_id(tokenizer)
    if arguments.world:
        model = ModelConfig(path=arguments.model)
        task = Capitals(CapitalsTask(name="capitals"), DataConfig(), 0)
        sets = [in_order(planted(arguments.world, task, seed), tokenizer, model) for seed in range(arguments.seeds)]
        run(sets, planted_pairs(task, tokenizer, model), arguments, pad, members=1)
    else:
        config = load("arguments", [f"data.judgements={arguments.judgements}"])
        file = JudgementsFile(config.task, config.data, 0)  # pyright: ignore[reportArgumentType]
        data = in_order(file.training_judgements("weak"), tokenizer, config.model)
        held = real_pairs(file, tokenizer, config.model, config.data)
        run([data] * arguments.seeds, held, arguments, pad, members=2)


if __name__ == "__main__":
    main()
