"""One member of the reward model, from judgements.

judgements.jsonl.gz -> unique texts + columns -> planned batches -> TRL RewardTrainer with our loss -> model/
                                              \\-> frozen features -> linear probe (kind: probe) -> model/
model/ -> scores of all judged texts -> reward_mean, reward_std in its config.json; evaluation.json, evaluation/*.svg
noise: per_rater... -> rater_errors.json

sandwich run configs/capitals.yaml --only reward_model
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

from sandwiching.configs.schema import DataConfig, LoraConfig, ModelConfig, ResourcesConfig, RewardModelConfig
from sandwiching.policy.loading import load_score_model
from sandwiching.policy.tokenization import load_tokenizer
from sandwiching.reward_model.difficulty import difficulty
from sandwiching.reward_model.evaluate import evaluate
from sandwiching.reward_model.normalise import reference_statistics, write_statistics
from sandwiching.training import distributed
from sandwiching.training.artifacts import StageFolder, write_atomic
from sandwiching.training.base import base_folder
from sandwiching.training.devices import compute_dtype, default_device
from sandwiching.training.readout import last_token_scores, read_in_chunks
from sandwiching.training.recorder import Observer, no_observer
from sandwiching.training.reward_data import load_reward_data
from sandwiching.training.reward_member import STAGE, Member, load_with_head, loss_terms, member_seed
from sandwiching.training.reward_plots import save_evaluation
from sandwiching.training.reward_probe import train_probe
from sandwiching.training.reward_raters import split_off, trained_noise, write_rater_errors
from sandwiching.training.reward_trainer import train_member
from sandwiching.training.weights import export_trained


def train_reward_model(
    *,
    model: ModelConfig,
    reward_model: RewardModelConfig,
    data: DataConfig,
    seed: int,
    member: int,
    resources: ResourcesConfig,
    parents: Mapping[str, Path],
    folder: StageFolder,
    observer: Observer | None = None,
) -> dict[str, float]:
    """Write model/, evaluation.json and, with LoRA, adapter/. Returns the last step's metrics and the dev accuracy.

    Raises ValueError for judgements that cannot be trained on.
    """
    distributed.init_process_group()
    base = base_folder(model, parents)
    tokenizer = load_tokenizer(base, model.pad_token)
    loaded = load_reward_data(parents["judgements"], tokenizer, model, data.too_long, reward_model.dev_share, seed)
    own_seed = member_seed(seed, member)
    spec = Member(
        base=base,
        tokenizer=tokenizer,
        lora=(model.lora or LoraConfig()) if reward_model.kind == "lora" else None,
        precision=model.precision,
        config=reward_model,
        resources=resources,
        data=loaded,
        terms=loss_terms(loaded, reward_model, own_seed),
        seed=own_seed,
        folder=folder,
        observer=observer or no_observer,
    )
    metrics = KINDS[reward_model.kind](spec)
    distributed.barrier()
    return metrics | finish(spec)


def train_trunk(member: Member) -> dict[str, float]:
    """All weights, or a fresh adapter on the parent's merged model and the whole head; rank 0 writes the model."""
    metrics, weights = train_member(member)
    if distributed.rank() == 0:
        learned = split_off(weights)
        if learned:
            metrics |= write_rater_errors(member, trained_noise(member, learned))
        export_trained(load_with_head(member), weights, member.tokenizer, member.folder)
    return metrics


KINDS: dict[str, Callable[[Member], dict[str, float]]] = {
    "full": train_trunk,
    "lora": train_trunk,
    "probe": train_probe,
}


def finish(member: Member) -> dict[str, float]:
    """Score all judged texts with the written model, as the scorer will, and write statistics and evaluation.json."""
    cache = member.folder.cache / "scores"
    if distributed.rank() == 0:
        shutil.rmtree(cache, ignore_errors=True)
    distributed.barrier()
    model = load_score_model(member.folder.model, compute_dtype(member.precision))
    model.to(default_device())  # pyright: ignore[reportArgumentType]
    scores_N = read_in_chunks(
        last_token_scores,
        model.eval(),
        member.data.texts,
        member.resources.micro_batch,
        cache,
        member.folder,
    )
    mean, deviation = reference_statistics(scores_N)
    evaluation = evaluate(scores_N, member.data.dev, deviation)
    evaluation |= difficulty(scores_N, member.data.train, member.data.dev)
    distributed.barrier()
    if distributed.rank() == 0:
        shutil.rmtree(member.folder.cache)
        write_statistics(member.folder.model, mean, deviation)
        write_atomic(member.folder.path / "evaluation.json", json.dumps(evaluation, indent=1) + "\n")
        save_evaluation(evaluation, member.folder.path / "evaluation")
    overall = evaluation["overall"]
    counts = {
        f"{STAGE}/texts": len(member.data.texts),
        f"{STAGE}/judgements": len(member.data.train),
        f"{STAGE}/reward_mean": mean,
        f"{STAGE}/reward_std": deviation,
    }
    return counts if overall is None else counts | {f"{STAGE}/dev_accuracy": overall["accuracy"]}
