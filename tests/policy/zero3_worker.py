"""Run by test_logprobs_zero3.py on two ranks: log-probs and gradients under ZeRO-3 against a whole model.

torchrun --nproc-per-node 2 zero3_worker.py MODEL_FOLDER fp32|bf16 full|lora
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import deepspeed
import torch
import torch.distributed as dist
from deepspeed.utils import safe_get_full_grad
from torch import Tensor, nn

from sandwiching.kernels.chunked import CHUNK_BYTES
from sandwiching.policy.heads import use_op_head
from sandwiching.policy.loading import load_causal_lm
from sandwiching.policy.logprobs import response_logprobs
from sandwiching.policy.lora import LoraSpec, attach
from sandwiching.policy.records import PackedResponses, Texts

T = 6
PREFIX = 4
"""All rows begin with so many equal tokens, which go through the sharded trunk once."""


class Policy(nn.Module):
    """What the engine's forward calls."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, responses: PackedResponses) -> Tensor:
        return response_logprobs(self.model, responses, 0.9)[0]


def build(folder: Path, dtype: torch.dtype, lora: bool) -> Policy:
    model = load_causal_lm(folder, dtype)
    use_op_head(model)
    return Policy(attach(model, LoraSpec(4, 8), 0, "CAUSAL_LM") if lora else model)


def engine_of(policy: Policy, bf16: bool):
    trained: Any = [parameter for parameter in policy.parameters() if parameter.requires_grad]
    config = {
        "train_micro_batch_size_per_gpu": 4,
        # Otherwise tiny parameters are never sharded, and nothing is tested.
        "zero_optimization": {"stage": 3, "stage3_param_persistence_threshold": 0},
        "bf16": {"enabled": bf16},
        "zero_allow_untested_optimizer": True,
    }
    adam = torch.optim.AdamW(trained, lr=1e-2)
    return deepspeed.initialize(
        model=policy, optimizer=adam, model_parameters=trained, config=config, dist_init_required=False
    )[0]


def main(folder: Path, bf16: bool, lora: bool) -> None:
    dist.init_process_group("gloo")
    CHUNK_BYTES["cpu"] = 1  # several chunks, as few rows as can be
    sharded, whole = build(folder, torch.float32, lora), build(folder, torch.bfloat16 if bf16 else torch.float32, lora)
    engine = engine_of(sharded, bf16)
    assert all(parameter.numel() == 0 for parameter in sharded.parameters())
    tokens_BS = torch.randint(0, 256, (4, 15), generator=torch.Generator().manual_seed(dist.get_rank()))
    attention_BS = torch.ones_like(tokens_BS).bool()
    attention_BS[1, :3] = False
    tokens_BS[:, :PREFIX] = tokens_BS[1, 3 : 3 + PREFIX] = torch.arange(PREFIX)
    responses = Texts(tokens_BS, attention_BS, attention_BS[:, -T:]).packed(PREFIX)
    weights_M = torch.arange(1.0, T + 1).repeat(4)

    expected_M = whole(responses)
    (expected_M * weights_M).sum().backward()
    new_M = engine(responses)
    assert torch.equal(new_M, expected_M)
    engine.backward((new_M * weights_M).sum())
    for (name, parameter), reference in zip(sharded.named_parameters(), whole.parameters(), strict=True):
        if reference.requires_grad:
            assert reference.grad is not None, name
            mean = reference.grad.float() / dist.get_world_size()
            dist.all_reduce(mean)
            gradient = safe_get_full_grad(parameter)
            assert gradient is not None, name
            tolerance = 2e-2 if bf16 else 1e-4
            torch.testing.assert_close(gradient.float(), mean, atol=tolerance, rtol=10 * tolerance)
    engine.step()
    after_M = engine(responses)
    with torch.no_grad():
        assert torch.equal(engine(responses), after_M), "the ratio is 1 with and without gradient"
    assert not torch.equal(after_M, new_M)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2] == "bf16", sys.argv[3] == "lora")
