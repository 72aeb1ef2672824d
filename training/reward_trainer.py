"""TRL's RewardTrainer on planned batches with our loss.

A dataset row is the number of a batch (reward_model/bundles.py), and each rank's forward pass is one batch: its unique
texts, and the judgements among them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from datasets import Dataset
from torch import Tensor, nn
from trl.trainer.reward_config import RewardConfig
from trl.trainer.reward_trainer import RewardTrainer

from sandwiching.policy.packing import Packing
from sandwiching.policy.padding import padded_right, shared_prefix
from sandwiching.policy.trunk import packs
from sandwiching.reward_model.bundles import BatchPlan, plan_batches
from sandwiching.reward_model.evaluate import agreement
from sandwiching.reward_model.losses import bradley_terry
from sandwiching.reward_model.rater_noise import RaterContext, RaterNoise
from sandwiching.training import distributed
from sandwiching.training.hf import SealedTrainer, trainer_arguments
from sandwiching.training.readout import last_token_scores
from sandwiching.training.reward_data import RewardData
from sandwiching.training.reward_member import STAGE, LossTerms, Member, load_with_head
from sandwiching.training.reward_raters import NAME as RATERS
from sandwiching.training.reward_raters import make_rater_noise, scores_and_errors
from sandwiching.training.weights import persistence_threshold


@dataclass(frozen=True, slots=True)
class PlannedCollator:
    """From the number of a batch to its tensors."""

    plan: BatchPlan
    data: RewardData
    terms: LossTerms
    pad: int

    def __call__(self, rows: Sequence[Mapping[str, int]]) -> dict[str, Any]:
        """input_ids, attention_mask [B, S] of the texts; left, right [E] places in B; columns of the loss [E]."""
        (row,) = rows
        batch = self.plan.batches[row["batch"]]
        tokens_BS, attention_BS = padded_right([self.data.texts[text] for text in batch.texts], self.pad)
        place = {text: i for i, text in enumerate(batch.texts)}
        chosen = torch.tensor(batch.judgements, dtype=torch.int64)
        columns = self.data.train
        return {
            "input_ids": tokens_BS,
            "attention_mask": attention_BS.long(),
            "left": torch.tensor([place[int(text)] for text in columns.text_a_E[chosen]], dtype=torch.int64),
            "right": torch.tensor([place[int(text)] for text in columns.text_b_E[chosen]], dtype=torch.int64),
            "target": columns.target_E[chosen],
            "weight": self.terms.weight_E[chosen],
            "margin": self.terms.margin_E[chosen],
            "error": self.terms.error_E[chosen],
            "rater": self.terms.context.rater_E[chosen],
            "length": self.terms.context.length_E[chosen],
            "group": self.terms.context.group_E[chosen],
            "denominator": torch.tensor(batch.weight, dtype=torch.float64),
        }


class JudgementTrainer(SealedTrainer, RewardTrainer):
    """RewardTrainer with weighted Bradley-Terry over the judgements of the whole optimiser step."""

    loss_is_scaled_for_ga = True
    noise: str
    raters: RaterNoise | None
    prior_share: float
    """Of the negative log-prior that one pass of one rank adds to its loss."""
    rater_learning_rate: float
    agreed: Tensor

    def set_loss(self, member: Member, raters: RaterNoise | None, passes: int) -> None:
        """How raters err, and what is learned of them; passes: of each rank in a step."""
        self.noise, self.raters = member.terms.noise, raters
        self.prior_share = 0.0 if raters is None else 1 / (raters.judgements * passes * distributed.world_size())
        self.rater_learning_rate = member.config.rater_learning_rate
        self.agreed = torch.zeros((), dtype=torch.float64)

    def _prepare_dataset(self, dataset: Any, *args: Any, **kwargs: Any) -> Any:
        return dataset

    def compute_loss(
        self, model: nn.Module, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Tensor:
        """This batch's share of the step's loss, times the ranks, since DeepSpeed averages gradients over them."""
        tokens_BS, attention_BS = inputs["input_ids"], inputs["attention_mask"]
        assert self.model is not None
        prefix = shared_prefix(tokens_BS, attention_BS) if packs(self.model) else 0
        texts, error_E, lean_E, prior = Packing.of(tokens_BS, attention_BS, prefix), inputs["error"], None, 0.0
        if self.raters is None:
            scores_B = model(texts)
        else:
            context = RaterContext(inputs["rater"], inputs["length"], inputs["group"])
            scores_B, error_E, lean_E, prior = model(texts, context)
        delta_E = scores_B[inputs["left"]] - scores_B[inputs["right"]]
        denominator = inputs["denominator"].item()
        columns = inputs["target"], inputs["weight"], inputs["margin"]
        loss = bradley_terry(delta_E, *columns, denominator, self.noise, error_E, lean_E) + self.prior_share * prior
        right_E = agreement(delta_E.detach(), inputs["target"]) * inputs["weight"]
        self.agreed += right_E.double().sum().cpu() / denominator
        return loss * self.accelerator.num_processes

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:
        """Raters' parameters in a group of their own: their step is the gradient's, averaged, times the rate.

        That is what Adam does under an epsilon far above any gradient. By its own measure a rater of few votes, whose
        gradient is zero in most steps, would move as far as one of many.
        """
        optimizer = super().create_optimizer(model)
        own = [] if self.raters is None else list(self.raters.parameters())
        if own:
            held = {id(parameter) for parameter in own}
            for group in optimizer.param_groups:
                group["params"] = [parameter for parameter in group["params"] if id(parameter) not in held]
            rate = {"lr": self.rater_learning_rate, "eps": 1.0, "weight_decay": 0.0}
            optimizer.add_param_group({"params": own, **rate})
        return optimizer

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Adds the step's agreement over all ranks."""
        if "loss" in logs:
            logs["reward_model/accuracy"] = distributed.all_sum(self.agreed.clone()).item()
            self.agreed.zero_()
        super().log(logs, start_time)


def train_member(member: Member) -> tuple[dict[str, float], dict[str, Tensor]]:
    """Metrics of the last step, and the trained fp32 weights (both on rank 0).

    Raises ValueError for a text that ends in padding, where Hugging Face's forward would read the token before it.
    """
    if any(text[-1] == member.pad for text in member.data.texts):
        raise ValueError(f"a text ends in the pad token {member.tokenizer.pad_token!r}: set another model.pad_token")
    columns = member.data.train
    plan = plan_batches(
        columns.text_a_E,
        columns.text_b_E,
        member.terms.weight_E,
        batch_texts=member.config.batch_texts,
        ranks=distributed.world_size(),
        micro_batch=member.resources.micro_batch,
        seed=member.seed,
        epochs=member.config.epochs,
    )
    # Made before the model is loaded: under ZeRO-3 it decides how.
    arguments = RewardConfig(
        **trainer_arguments(
            optimizer=member.config.optimizer,
            resources=member.resources,
            precision=member.precision,
            rows_per_batch=1,
            accumulation=plan.passes,
            seed=member.seed,
            folder=member.folder,
            persistence_threshold=persistence_threshold(member.base),
        ),
        max_length=None,
    )
    model, raters = load_with_head(member), make_rater_noise(columns, member.terms, member.config)
    # TRL wants Hugging Face's model; what DeepSpeed calls gives scores of packed texts, the head on last tokens only.
    model.forward = partial(last_token_scores if raters is None else scores_and_errors, model)
    if raters is not None:
        model.add_module(RATERS, raters)
    trainer = JudgementTrainer(
        model=model,
        args=arguments,
        data_collator=PlannedCollator(plan, member.data, member.terms, member.pad),
        train_dataset=Dataset.from_dict({"batch": range(len(plan.batches))}),
        processing_class=member.tokenizer,
    )
    trainer.set_loss(member, raters, plan.passes)
    trainer.setup(STAGE, member.folder, member.resources, member.config.optimizer, member.observer)
    metrics = trainer.run()
    weights = trainer.trained_weights()
    trainer.release()
    return metrics, weights
