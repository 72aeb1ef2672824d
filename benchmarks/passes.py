"""How rows of uneven length go through a trunk, forward and backward, all ways alternating in one run.

    python benchmarks/passes.py

Rectangles of whole rows as they come; sorted by length (training/passes.py); the same passes packed without padding
(policy/packing.py), whole and with what all prompts begin with once; and that under a mask over all tokens, in place of
attention by rows (policy/attention.py). Tokens are random: 31 that all prompts share, 4 to 16 of each prompt's own,
responses as the demo has them (mean 9 of 32).
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
from sandwiching.training.devices import compute_dtype, default_device, use_threads
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


def wait() -> None:
    """Until a GPU is done."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def train_on(hidden: Tensor) -> None:
    """A loss of the hidden states, backwards."""
    hidden.float().square().mean().backward()


def rows_of(model: PreTrainedModel, batch: PPOBatch, rows: Tensor) -> Tensor:
    """Hidden states of a rectangle, as wide as its longest prompt and its longest response."""
    part = batch.select(rows)
    columns = part.attention_BS.any(0)
    attention_BS = part.attention_BS[:, columns].long().to(model.device)
    output = model.base_model(
        input_ids=part.tokens_BS[:, columns].to(model.device),
        attention_mask=attention_BS,
        position_ids=(attention_BS.cumsum(-1) - 1).clamp(min=0),
        use_cache=False,
    )
    return output.last_hidden_state


def as_they_come(model: PreTrainedModel, batch: PPOBatch, limit: int) -> None:
    """Rectangles of `limit` whole rows."""
    for rows in torch.arange(len(batch)).split(limit):
        train_on(rows_of(model, batch, rows))


def passes(batch: PPOBatch, limit: int, prefix: int) -> list[Tensor]:
    """As the learner plans them."""
    tokens_B = batch.attention_BS.sum(1) - prefix
    return [rows for (rows,) in plan_passes(tokens_B, all_rows(tokens_B), limit, prefix)]


def sorted_rows(model: PreTrainedModel, batch: PPOBatch, limit: int) -> None:
    """Rectangles of rows of like length."""
    for rows in passes(batch, limit, 0):
        train_on(rows_of(model, batch, rows))


def packed(model: PreTrainedModel, batch: PPOBatch, limit: int, shares: bool) -> None:
    """As the pipeline does."""
    prefix = batch.shared_prefix if shares else 0
    for rows in passes(batch, limit, prefix):
        train_on(trunk_hidden(model, batch.select(rows).packed(prefix).packing.to(model.device)))


def packed_texts(model: PreTrainedModel, batch: PPOBatch, limit: int) -> None:
    """Whole texts packed."""
    packed(model, batch, limit, shares=False)


def packed_shared(model: PreTrainedModel, batch: PPOBatch, limit: int) -> None:
    """The same, the shared prefix once."""
    packed(model, batch, limit, shares=True)


def block_mask(model: PreTrainedModel, batch: PPOBatch, limit: int) -> None:
    """The same packing under a mask over all its tokens, in place of policy/attention.py."""
    prefix = batch.shared_prefix
    for rows in passes(batch, limit, prefix):
        packing = batch.select(rows).packed(prefix).packing.to(model.device)
        sizes = torch.cat([packing.rest_B.new_tensor([prefix]), packing.rest_B])
        text_N = torch.arange(len(sizes), device=model.device).repeat_interleave(sizes)
        sees_NN = ((text_N[:, None] == text_N) | (text_N == 0)).tril()
        mask_NN = torch.zeros(sees_NN.shape, dtype=model.dtype, device=model.device).masked_fill(
            ~sees_NN, torch.finfo(model.dtype).min
        )
        output = model.base_model(
            input_ids=packing.tokens_N[None],
            attention_mask=mask_NN[None, None],
            position_ids=packing.position_N[None],
            use_cache=False,
        )
        train_on(output.last_hidden_state)


WAYS: dict[str, Callable[[PreTrainedModel, PPOBatch, int], None]] = {
    "as they come": as_they_come,
    "sorted": sorted_rows,
    "packed": packed_texts,
    "packed, shared prefix": packed_shared,
    "packed, shared prefix, block mask": block_mask,
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
    model.to(default_device())  # pyright: ignore[reportArgumentType]
    batch = make_batch(arguments.rows)
    seconds: dict[str, list[float]] = {name: [] for name in WAYS}
    for _ in range(arguments.rounds + 1):
        for name, way in WAYS.items():
            started = time.perf_counter()
            way(model, batch, arguments.limit)
            wait()
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
