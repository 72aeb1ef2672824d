"""How rows of uneven length go through a trunk, forward and backward, all ways alternating in one run.

    python benchmarks/passes.py

Rectangles of whole rows as they come; sorted by length and trimmed (training/passes.py); the same with what all prompts
begin with computed once a pass (policy/trunk.py); and all rows of a pass packed into one under a block mask. Tokens are
random: 31 that all prompts share, 4 to 16 of each prompt's own, responses as the demo has them (mean 9 of 32).
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor
from transformers import PreTrainedModel

from sandwiching.policy.base_models import resolve
from sandwiching.policy.loading import load_causal_lm
from sandwiching.policy.padding import padded_left, padded_right
from sandwiching.policy.records import PPOBatch
from sandwiching.policy.trunk import trunk_hidden
from sandwiching.training.devices import compute_dtype, use_threads
from sandwiching.training.passes import all_rows, plan_passes


def make_batch(rows: int) -> PPOBatch:
    """Tokens and masks; the other columns are zeros."""
    generator = torch.Generator().manual_seed(0)
    shared = torch.randint(100, 40_000, (31,), generator=generator).tolist()
    lengths = torch.randint(4, 17, (rows,), generator=generator)
    prompts = [[*shared, *torch.randint(100, 40_000, (n,), generator=generator).tolist()] for n in lengths.tolist()]
    sampled = torch.empty(rows).exponential_(1 / 9, generator=generator).ceil().clamp(1, 32).long().tolist()
    responses = [torch.randint(100, 40_000, (n,), generator=generator).tolist() for n in sampled]
    tokens_BP, attention_BP = padded_left(prompts, 0)
    tokens_BT, mask_BT = padded_right(responses, 0, 32)
    zeros_BT = torch.zeros(mask_BT.shape)
    tokens_BS, attention_BS = torch.cat([tokens_BP, tokens_BT], 1), torch.cat([attention_BP, mask_BT], 1)
    return PPOBatch(tokens_BS, attention_BS, mask_BT, zeros_BT, zeros_BT, zeros_BT, zeros_BT)


def train_on(hidden: Tensor) -> None:
    """A loss of the hidden states, backwards."""
    hidden.float().square().mean().backward()


def as_they_come(model: PreTrainedModel, batch: PPOBatch, limit: int) -> None:
    """Rectangles of `limit` whole rows."""
    for rows in all_rows(batch).split(limit):
        train_on(trunk_hidden(model, batch.tokens_BS[rows], batch.attention_BS[rows]))


def sorted_rows(model: PreTrainedModel, batch: PPOBatch, limit: int, prefix: int = 0) -> None:
    """Rectangles of sorted, trimmed rows."""
    for (rows,) in plan_passes(batch, all_rows(batch), limit, prefix):
        part = batch.select(rows).trimmed()
        train_on(trunk_hidden(model, part.tokens_BS, part.attention_BS, prefix))


def shared_rows(model: PreTrainedModel, batch: PPOBatch, limit: int) -> None:
    """The same, the shared prefix once."""
    sorted_rows(model, batch, limit, batch.shared_prefix)


def packed(model: PreTrainedModel, batch: PPOBatch, limit: int) -> None:
    """The rows of the same passes in one, behind the prefix, each seeing the prefix and itself."""
    prefix = batch.shared_prefix
    for (rows,) in plan_passes(batch, all_rows(batch), limit, prefix):
        texts = [batch.tokens_BS[row][batch.attention_BS[row]] for row in rows.tolist()]
        tokens_N = torch.cat([texts[0][:prefix], *(text[prefix:] for text in texts)])
        sizes = torch.tensor([prefix, *(len(text) - prefix for text in texts)])
        segment_N = torch.arange(len(sizes)).repeat_interleave(sizes)
        position_N = torch.cat([torch.arange(prefix), *(torch.arange(prefix, len(text)) for text in texts)])
        sees_NN = (segment_N[:, None] == segment_N) | (segment_N == 0)
        sees_NN &= torch.ones(len(tokens_N), len(tokens_N), dtype=torch.bool).tril()
        mask_NN = torch.zeros(sees_NN.shape, dtype=model.dtype).masked_fill(~sees_NN, torch.finfo(model.dtype).min)
        output = model.base_model(
            input_ids=tokens_N[None], attention_mask=mask_NN[None, None], position_ids=position_N[None], use_cache=False
        )
        train_on(output.last_hidden_state)


WAYS: dict[str, Callable[[PreTrainedModel, PPOBatch, int], None]] = {
    "as they come": as_they_come,
    "sorted": sorted_rows,
    "sorted, shared prefix": shared_rows,
    "packed, block mask": packed,
}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="bf16")
    parser.add_argument("--rows", type=int, default=32)
    parser.add_argument("--limit", type=int, default=16, help="rows of full length a pass")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    use_threads(torch.get_num_threads())
    model = load_causal_lm(resolve(arguments.model), compute_dtype(arguments.precision))
    batch = make_batch(arguments.rows)
    seconds: dict[str, list[float]] = {name: [] for name in WAYS}
    for _ in range(arguments.rounds + 1):
        for name, way in WAYS.items():
            started = time.perf_counter()
            way(model, batch, arguments.limit)
            seconds[name].append(time.perf_counter() - started)
    baseline = statistics.median(seconds["as they come"][1:])
    real = int(batch.attention_BS.sum())
    print(f"{arguments.rows} rows, {batch.attention_BS.numel()} tokens with padding, {real} without\n")
    print("| rows | ms | times as fast |\n|---|---|---|")
    for name, values in seconds.items():
        median = statistics.median(values[1:])
        print(f"| {name} | {1000 * median:.0f} | {baseline / median:.2f} |")


if __name__ == "__main__":
    main()
