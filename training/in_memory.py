"""Training of a language model that is small, or little trained: in one process, in fp32, without checkpoints."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import PreTrainedModel

from sandwiching.configs.schema import OptimizerConfig
from sandwiching.policy.padding import padded_right
from sandwiching.training.batching import IGNORED
from sandwiching.training.schedule import SCHEDULES

Row = tuple[list[int], list[int]]
"""Token ids and labels, which are -100 where nothing is learned."""


def train_in_memory(
    net: PreTrainedModel,
    rows: Sequence[Row],
    *,
    steps: int,
    batch_size: int,
    optimizer: OptimizerConfig,
    pad: int,
    seed: int,
    weights: Sequence[float] | None = None,
    watch: Callable[[int, float], None] = lambda step, loss: None,
) -> None:
    """Train all weights in place on `batch_size` rows a step, in a new order each epoch.

    weights: of each row's tokens in the loss, 1 where None. watch: called with (steps done, loss).
    """
    device = next(net.parameters()).device
    tokens_NS, attention_NS = padded_right([ids for ids, _ in rows], pad)
    labels_NS, _ = padded_right([labels for _, labels in rows], IGNORED)
    weight_N = torch.ones(len(rows)) if weights is None else torch.tensor(weights)
    rate, order = SCHEDULES[optimizer.scheduler], Order(len(rows), seed)
    adam = torch.optim.AdamW(
        net.parameters(), eps=optimizer.adam_epsilon, weight_decay=optimizer.weight_decay, betas=(0.9, 0.98)
    )
    net.train()
    for step in range(steps):
        adam.param_groups[0]["lr"] = optimizer.learning_rate * rate(step, steps, optimizer.warmup_ratio)
        chosen = order.take(batch_size)
        loss = _loss(net, *(part[chosen].to(device) for part in (tokens_NS, attention_NS, labels_NS, weight_N)))
        adam.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), optimizer.max_grad_norm)
        adam.step()
        watch(step + 1, float(loss.detach()))
    net.eval()


def _loss(net: PreTrainedModel, tokens_BS: Tensor, attention_BS: Tensor, labels_BS: Tensor, weight_B: Tensor) -> Tensor:
    """Weighted mean over the labels that are learned."""
    width = int(attention_BS.sum(1).max())
    logits_BSV = net(input_ids=tokens_BS[:, :width], attention_mask=attention_BS[:, :width]).logits
    target_BS = labels_BS[:, 1:width]
    nll_BS = cross_entropy(
        logits_BSV[:, :-1].flatten(0, 1), target_BS.flatten(), ignore_index=IGNORED, reduction="none"
    ).view(target_BS.shape)
    weight_BS = weight_B[:, None] * (target_BS != IGNORED)
    return (nll_BS * weight_BS).sum() / weight_BS.sum()


class Order:
    """Indices 0..N - 1 in a new random order each epoch."""

    def __init__(self, count: int, seed: int) -> None:
        self.count = count
        self.generator = torch.Generator().manual_seed(seed)
        self.left = torch.empty(0, dtype=torch.int64)

    def take(self, count: int) -> Tensor:
        """The next `count` indices."""
        while len(self.left) < count:
            self.left = torch.cat([self.left, torch.randperm(self.count, generator=self.generator)])
        taken, self.left = self.left[:count], self.left[count:]
        return taken
