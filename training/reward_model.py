"""One member of the reward model, from judgements.

judgements.jsonl.gz -> unique texts + columns -> planned batches -> TRL RewardTrainer with our loss -> model/
                                              \\-> frozen features -> linear probe (kind: probe) -> model/
model/ -> scores of all judged texts -> reward_mean, reward_std in its config.json; evaluation.json

sandwich run configs/capitals.yaml --only reward_model
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from transformers import AutoModelForSequenceClassification, PreTrainedModel, PreTrainedTokenizerBase

from sandwiching.configs.schema import DataConfig, LoraConfig, ModelConfig, ResourcesConfig, RewardModelConfig
from sandwiching.policy.tokenization import load_tokenizer
from sandwiching.reward_model.columns import judgement_weights, margins
from sandwiching.reward_model.ensemble import BOOTSTRAP
from sandwiching.reward_model.evaluate import evaluate, summarise
from sandwiching.reward_model.heads import last_token_hidden, last_token_scores, score_head
from sandwiching.reward_model.normalise import reference_statistics, write_statistics
from sandwiching.reward_model.probe import fit_probe
from sandwiching.training import distributed
from sandwiching.training.artifacts import StageFolder, write_atomic
from sandwiching.training.base import base_folder
from sandwiching.training.devices import compute_dtype, default_device
from sandwiching.training.hf import Observer, no_observer
from sandwiching.training.metrics import MetricsLog
from sandwiching.training.readout import read_in_chunks
from sandwiching.training.reward_data import RewardData, load_reward_data
from sandwiching.training.reward_trainer import LossTerms, RewardSpec, load_with_head, train_member
from sandwiching.training.weights import export_trained

STAGE = "reward_model"


@dataclass(frozen=True, slots=True)
class Member:
    """What the kinds need to train one member."""

    base: Path
    tokenizer: PreTrainedTokenizerBase
    model: ModelConfig
    reward_model: RewardModelConfig
    resources: ResourcesConfig
    data: RewardData
    terms: LossTerms
    seed: int
    folder: StageFolder
    observer: Observer


def loss_terms(data: RewardData, config: RewardModelConfig, seed: int) -> LossTerms:
    """Weight, margin and error rate of each training judgement; a member of an ensemble has its own bootstrap."""
    columns = data.train
    draw = BOOTSTRAP[config.bootstrap if config.members > 1 else "none"]
    weight_E = judgement_weights(columns, config.ties, config.use_confidence) * draw(columns.rater_E, seed)
    error_E = torch.full((len(columns),), config.smoothing)
    return LossTerms(weight_E, margins(columns, config.margin), error_E, config.noise)


def member_seed(seed: int, member: int) -> int:
    """Seeds of two members, or of two runs, never meet."""
    return seed * 1_009 + member


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
        model=model,
        reward_model=reward_model,
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


def train_trunk(member: Member, lora: LoraConfig | None) -> dict[str, float]:
    """Full fine-tuning or an adapter, with a fresh head; rank 0 writes the model."""
    spec = RewardSpec(
        base=member.base,
        tokenizer=member.tokenizer,
        lora=lora,
        precision=member.model.precision,
        config=member.reward_model,
        resources=member.resources,
        seed=member.seed,
        folder=member.folder,
    )
    metrics, weights = train_member(spec, member.data, member.terms, member.observer)
    if distributed.rank() == 0:
        export_trained(load_with_head(spec), weights, member.tokenizer, member.folder)
    return metrics


def train_full(member: Member) -> dict[str, float]:
    """All weights."""
    return train_trunk(member, None)


def train_lora(member: Member) -> dict[str, float]:
    """A fresh adapter (model.lora, or its defaults) on the parent's merged model; the head is trained whole."""
    return train_trunk(member, member.model.lora or LoraConfig())


def train_probe(member: Member) -> dict[str, float]:
    """A linear head on frozen features of the parent's own trunk; features are kept in cache/ for a resume."""
    spec = RewardSpec(
        base=member.base,
        tokenizer=member.tokenizer,
        lora=None,
        precision=member.model.precision,
        config=member.reward_model,
        resources=member.resources,
        seed=member.seed,
        folder=member.folder,
    )
    model = load_with_head(spec)
    assert isinstance(model, PreTrainedModel)
    reading = model.to(device=default_device(), dtype=compute_dtype(member.model.precision)).eval()  # pyright: ignore
    features_ND = read_all(member, reading, last_token_hidden, member.folder.cache / "features")
    columns, terms = member.data.train, member.terms
    head_D = fit_probe(
        features_ND,
        columns.text_a_E,
        columns.text_b_E,
        columns.target_E,
        terms.weight_E,
        terms.margin_E,
        terms.noise,
        terms.error_E,
    )
    scores_N = features_ND @ head_D
    delta_E = scores_N[columns.text_a_E] - scores_N[columns.text_b_E]
    fit = summarise(delta_E, columns.target_E)
    assert fit is not None
    metrics = {f"{STAGE}/loss": fit.nll, f"{STAGE}/accuracy": fit.accuracy}
    if distributed.rank() == 0:
        log = MetricsLog(member.folder.metrics)
        log.cut(0)
        log.write({"step": 1, **metrics})
        fresh = load_with_head(spec)
        assert isinstance(fresh, PreTrainedModel)
        export_trained(fresh, {"score.weight": head_D[None]}, member.tokenizer, member.folder)
    member.observer(STAGE, 1, 1, metrics)
    return metrics


KINDS: dict[str, Callable[[Member], dict[str, float]]] = {"full": train_full, "lora": train_lora, "probe": train_probe}


def read_all(
    member: Member, model: PreTrainedModel, reader: Callable[[PreTrainedModel, Tensor, Tensor], Tensor], cache: Path
) -> Tensor:
    """`reader` on every judged text."""
    pad = member.tokenizer.pad_token_id
    assert isinstance(pad, int)
    return read_in_chunks(reader, model, member.data.texts, pad, member.resources.micro_batch, cache, member.folder)


def finish(member: Member) -> dict[str, float]:
    """Score all judged texts with the written model, as the scorer will, and write statistics and evaluation.json."""
    cache = member.folder.cache / "scores"
    if distributed.rank() == 0:
        shutil.rmtree(cache, ignore_errors=True)
    distributed.barrier()
    model = AutoModelForSequenceClassification.from_pretrained(
        member.folder.model, dtype=compute_dtype(member.model.precision)
    )
    score_head(model)
    scores_N = read_all(member, model.to(default_device()).eval(), last_token_scores, cache)
    mean, deviation = reference_statistics(scores_N)
    evaluation = evaluate(scores_N, member.data.dev, deviation)
    if distributed.rank() == 0:
        write_statistics(member.folder.model, mean, deviation)
        write_atomic(member.folder.path / "evaluation.json", json.dumps(evaluation, indent=1) + "\n")
    overall = evaluation["overall"]
    counts = {
        f"{STAGE}/texts": len(member.data.texts),
        f"{STAGE}/judgements": len(member.data.train),
        f"{STAGE}/reward_mean": mean,
        f"{STAGE}/reward_std": deviation,
    }
    return counts if overall is None else counts | {f"{STAGE}/dev_accuracy": overall["accuracy"]}
