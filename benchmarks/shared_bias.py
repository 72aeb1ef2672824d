"""An ensemble's spread where raters disagree, and where all of them have the same bias.

    python benchmarks/shared_bias.py

Five probes bootstrapped over raters in two worlds of benchmarks/noise.py: 30 % of the raters always take the longer
answer, or every rater does half of the time. By kind of held-out answer: mean score of the ensemble, spread of its
members (deviation, ddof = 0, in units of the reference deviation), and how often a long wrong answer scores above the
short right one to the same question under each combination. Mean over five seeds.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from features import features
from noise import answers, fit, ids, in_order, planted
from torch import Tensor

from sandwiching.configs.schema import CapitalsTask, DataConfig, ModelConfig
from sandwiching.policy.base_models import resolve
from sandwiching.policy.tokenization import load_tokenizer, pad_token_id
from sandwiching.reward_model.ensemble import COMBINE
from sandwiching.reward_model.normalise import reference_statistics
from sandwiching.tasks.capitals import Capitals

MEMBERS = 5
CELLS = ("right, short", "right, long", "wrong, short", "wrong, long")


def ensemble(world: str, seed: int, task: Capitals, held: list[tuple[int, ...]], cache: Path) -> Tensor:
    """Normalised scores of the held-out answers [K, N]."""
    model = ModelConfig(path="smollm2-135m")
    tokenizer = load_tokenizer(resolve(model.path), None)
    data = in_order(planted(world, task, seed), tokenizer, model)
    texts = sorted({*data.texts, *held})
    place = {text: i for i, text in enumerate(texts)}
    features_ND = features(texts, model.path, "bf16", pad_token_id(tokenizer), cache)
    own = [place[text] for text in data.texts]
    rows = []
    for member in range(MEMBERS):
        head_D, _ = fit("none", data, features_ND[own], seed * MEMBERS + member, MEMBERS)
        scores_N = features_ND @ head_D
        mean, deviation = reference_statistics(scores_N[own])
        rows.append((scores_N[[place[text] for text in held]] - mean) / deviation)
    return torch.stack(rows)


def main() -> None:
    """Print a table a world."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--cache", type=Path, default=Path("runs/features"))
    arguments = parser.parse_args()
    model = ModelConfig(path="smollm2-135m")
    tokenizer = load_tokenizer(resolve(model.path), None)
    task = Capitals(CapitalsTask(name="capitals"), DataConfig(), 0)
    held = []
    for prompt in task.prompts("final"):
        (short_right, short_wrong), (long_right, long_wrong) = answers(task, prompt)
        cells = (short_right, long_right, short_wrong, long_wrong)
        held += [tuple(ids(tokenizer, model, prompt, answer)) for answer in cells]
    for world in ("longer", "everyone"):
        scores_SKN = torch.stack(
            [ensemble(world, seed, task, held, arguments.cache) for seed in range(arguments.seeds)]
        )
        scores_SKP4 = scores_SKN.unflatten(2, (-1, 4))
        print(f"\nworld {world}: {MEMBERS} members, {scores_SKP4.shape[2]} held-out questions\n")
        print("| answer | score | spread |\n|---|---|---|")
        for cell, name in enumerate(CELLS):
            scores_SKP = scores_SKP4[..., cell]
            print(f"| {name} | {scores_SKP.mean():.2f} | {scores_SKP.std(1, correction=0).mean():.3f} |")
        for name, combine in COMBINE.items():
            combined_SP4 = torch.stack([combine(scores_KP4, 0.5) for scores_KP4 in scores_SKP4])
            fooled = (combined_SP4[..., 3] > combined_SP4[..., 0]).double().mean()
            print(f"{name}: a long wrong answer above the short right one {fooled:.2f}")


if __name__ == "__main__":
    main()
