"""Prints the MiB that a head's forward and backward take beyond inputs and gradients (Linux): VARIANT DTYPE N D V.

VARIANT: linear_logprob, ppo_linear_loss, plain. The peak is read from /proc and reset right before.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import torch

from sandwiching.kernels import reference
from sandwiching.kernels.ops import linear_logprob, ppo_linear_loss

variant, dtype = sys.argv[1], getattr(torch, sys.argv[2])
N, D, V = map(int, sys.argv[3:])


def memory(field: str) -> float:
    """VmRSS or VmHWM of this process, in MiB."""
    found = re.search(rf"{field}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found
    return int(found[1]) / 1024


def step(hidden_ND: torch.Tensor, weight_VD: torch.Tensor) -> None:
    """One loss and its gradients."""
    target_N, vector_N = torch.arange(len(hidden_ND)) % len(weight_VD), torch.ones(len(hidden_ND))
    if variant == "ppo_linear_loss":
        rest = (target_N, -vector_N, vector_N, vector_N > 0, 1.0, 0.2, 0.01, 1.0)
        ppo_linear_loss(hidden_ND, weight_VD, *rest)[0].backward()
    else:
        function = linear_logprob if variant == "linear_logprob" else reference.linear_logprob
        (function(hidden_ND, weight_VD, target_N)[0].sum()).backward()


def main() -> None:
    """Measure the variant after a small step, which starts the libraries."""
    hidden_ND, weight_VD = torch.randn(N, D).to(dtype), torch.randn(V, D).to(dtype)
    step(hidden_ND[:16].clone().requires_grad_(), weight_VD[:64].clone().requires_grad_())
    before = memory("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")
    step(hidden_ND.requires_grad_(), weight_VD.requires_grad_())
    print(memory("VmHWM") - before - (hidden_ND.nbytes + weight_VD.nbytes) / 2**20)


main()
