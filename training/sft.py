"""Supervised fine-tuning: the policy's start, learned from demonstrations of weak people.

    demonstrations -> token ids, loss on the response only -> TRL SFTTrainer under DeepSpeed -> model/ (+ adapter/)

    sandwich run configs/capitals.yaml --only sft

TRL gets ids, never text. Demonstrations are not packed: TRL packs for flash attention only, and answers are a line
long, so that padding costs little.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from datasets import Dataset
from peft import PeftModel
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from trl.trainer.sft_config import SFTConfig
from trl.trainer.sft_trainer import SFTTrainer

from sandwiching.configs.schema import DataConfig, ModelConfig, ResourcesConfig, SftConfig, TaskConfig
from sandwiching.policy.loading import load_causal_lm
from sandwiching.policy.padding import padded_right
from sandwiching.policy.tokenization import load_tokenizer
from sandwiching.tasks.registry import make_task
from sandwiching.training import distributed
from sandwiching.training.artifacts import StageFolder
from sandwiching.training.base import base_folder
from sandwiching.training.batching import IGNORED, chosen, micro_batches, padded_order
from sandwiching.training.demonstrations import demonstration_rows
from sandwiching.training.hf import SealedTrainer, trainer_arguments
from sandwiching.training.recorder import Observer
from sandwiching.training.weights import export_trained, persistence_threshold, trainable


class DemonstrationTrainer(SealedTrainer, SFTTrainer):
    """SFTTrainer on rows that are already ids, in order."""


def ordered_dataset(rows: Sequence[tuple[list[int], list[int]]], batch_size: int, epochs: int, seed: int) -> Dataset:
    """Rows in training order, every epoch filled up to whole batches by rows without loss."""
    filler = ([0, 0], [IGNORED, IGNORED])
    order = padded_order(len(rows), batch_size, epochs, seed)
    planned = [filler if i is None else rows[i] for i in order]
    return Dataset.from_dict({"input_ids": [ids for ids, _ in planned], "labels": [labels for _, labels in planned]})


def collate(rows: Sequence[Mapping[str, Sequence[int]]], pad: int) -> dict[str, Tensor]:
    """Right-padded input_ids, attention_mask and labels [B, S] int64."""
    tokens_BS, attention_BS = padded_right([row["input_ids"] for row in rows], pad)
    labels_BS, _ = padded_right([row["labels"] for row in rows], IGNORED)
    return {"input_ids": tokens_BS, "attention_mask": attention_BS, "labels": labels_BS}


def train_sft(
    *,
    model: ModelConfig,
    task: TaskConfig,
    data: DataConfig,
    sft: SftConfig,
    seed: int,
    resources: ResourcesConfig,
    parents: Mapping[str, Path],
    folder: StageFolder,
    observer: Observer | None = None,
) -> dict[str, float]:
    """Write model/ (and adapter/ with LoRA). Returns the metrics of the last step.

    Raises ValueError when batch_size cannot be divided over the ranks, or nothing is left to train on.
    """
    distributed.init_process_group()
    base = base_folder(model, parents)
    tokenizer = load_tokenizer(base, model.pad_token)
    demonstrations = chosen(make_task(task, data, seed).demonstrations(), sft.max_demonstrations, seed)
    rows = demonstration_rows(tokenizer, demonstrations, model, data.too_long)
    if not rows:
        raise ValueError("sft: the task has no demonstrations; set `sft: null` to start from the base model")
    trainer = _trainer(base, tokenizer, rows, model, sft, seed, resources, folder)
    trainer.setup("sft", folder, resources, sft.optimizer, observer)
    metrics = trainer.run()
    weights = trainer.trained_weights()
    trainer.release()
    if distributed.rank() == 0:
        export_trained(_start(base, model, seed), weights, tokenizer, folder)
    distributed.barrier()
    return metrics | {"sft/demonstrations": len(rows)}


def _start(base: Path, model: ModelConfig, seed: int) -> PreTrainedModel | PeftModel:
    return trainable(
        load_causal_lm(base, torch.float32),
        model.lora,
        seed,
        "CAUSAL_LM",
    )


def _trainer(
    base: Path,
    tokenizer: PreTrainedTokenizerBase,
    rows: Sequence[tuple[list[int], list[int]]],
    model: ModelConfig,
    sft: SftConfig,
    seed: int,
    resources: ResourcesConfig,
    folder: StageFolder,
) -> DemonstrationTrainer:
    micro_batch, accumulation = micro_batches(
        "sft.batch_size", sft.batch_size, distributed.world_size(), resources.micro_batch
    )
    # Made before the model is loaded: under ZeRO-3 it decides how.
    arguments = SFTConfig(
        **trainer_arguments(
            optimizer=sft.optimizer,
            resources=resources,
            precision=model.precision,
            rows_per_batch=micro_batch,
            accumulation=accumulation,
            seed=seed,
            folder=folder,
            persistence_threshold=persistence_threshold(base),
        ),
        max_length=None,
        packing=False,
        dataset_kwargs={"skip_prepare_dataset": True},
    )
    pad = tokenizer.pad_token_id
    assert isinstance(pad, int)
    return DemonstrationTrainer(
        model=_start(base, model, seed),
        args=arguments,
        data_collator=lambda batch: collate(batch, pad),
        train_dataset=ordered_dataset(rows, sft.batch_size, sft.epochs, seed),
        processing_class=tokenizer,
    )
