"""One member of the reward model: what it learns from, and the model it starts as."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import deepspeed
import torch
from peft import PeftModel
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from trl.trainer.reward_trainer import suppress_seqcls_warning

from sandwiching.configs.schema import LoraConfig, ResourcesConfig, RewardModelConfig
from sandwiching.policy.loading import load_score_model
from sandwiching.reward_model.columns import judgement_weights, margins
from sandwiching.reward_model.ensemble import BOOTSTRAP
from sandwiching.reward_model.heads import init_score_head, score_head
from sandwiching.reward_model.rater_noise import RaterContext, length_differences
from sandwiching.training.artifacts import StageFolder
from sandwiching.training.recorder import Observer
from sandwiching.training.reward_data import RewardData
from sandwiching.training.weights import trainable

STAGE = "reward_model"


@dataclass(frozen=True, slots=True)
class LossTerms:
    """What the loss needs of each training judgement besides its texts: weight_E, margin_E, error_E fp32.

    context: where errors are learned; length_unit: tokens in one unit of its length_E.
    """

    weight_E: Tensor
    margin_E: Tensor
    error_E: Tensor
    noise: str
    context: RaterContext
    length_unit: float


@dataclass(frozen=True, slots=True)
class Member:
    """What is trained, from which folder, on what and how. lora None: no adapter."""

    base: Path
    tokenizer: PreTrainedTokenizerBase
    lora: LoraConfig | None
    precision: str
    config: RewardModelConfig
    resources: ResourcesConfig
    data: RewardData
    terms: LossTerms
    seed: int
    folder: StageFolder
    observer: Observer

    @property
    def pad(self) -> int:
        """Id of the pad token."""
        assert isinstance(self.tokenizer.pad_token_id, int)
        return self.tokenizer.pad_token_id


def member_seed(seed: int, member: int) -> int:
    """Fixes the bootstrap, the head, the adapter and the order; two members, or two runs, never share one."""
    return seed * 1_009 + member


def loss_terms(data: RewardData, config: RewardModelConfig, seed: int) -> LossTerms:
    """Weight, margin and error rate of each training judgement; a member of an ensemble has its own bootstrap."""
    columns = data.train
    draw = BOOTSTRAP[config.bootstrap if config.members > 1 else "none"]
    weight_E = judgement_weights(columns, config.ties, config.use_confidence) * draw(columns.rater_E, seed)
    error_E = torch.full((len(columns),), config.smoothing)
    tokens_N = torch.tensor([len(text) for text in data.texts])
    length_E, unit = length_differences(tokens_N, columns)
    context = RaterContext(columns.rater_E, length_E, columns.group_E)
    return LossTerms(weight_E, margins(columns, config.margin), error_E, config.noise, context, unit)


def load_with_head(member: Member) -> PreTrainedModel | PeftModel:
    """The parent's trunk in fp32 with a fresh score head that computes in fp32, and with LoRA a fresh adapter."""
    with suppress_seqcls_warning():
        model = load_score_model(member.base, torch.float32, num_labels=1, pad_token_id=member.pad)
    with deepspeed.zero.GatheredParameters(list(score_head(model).parameters()), modifier_rank=0):
        init_score_head(model, member.seed)
    return trainable(model, member.lora, member.seed, "SEQ_CLS")
