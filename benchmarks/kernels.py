"""Times of the vocabulary head's ops beside plain torch, compiled torch and the bare GEMMs, all in one run.

    python benchmarks/kernels.py --shapes A B C            # on a GPU
    python benchmarks/kernels.py                           # on CPU: shape C

Forward: log-prob and entropy (floor: one GEMM). Step: PPO loss, dHidden and dWeight (floor: three GEMMs). Liger's and
TRL's rows appear where those packages are installed. Extra memory is the peak above inputs and gradients, on Linux or a
GPU. Liger's and TRL's logits are rounded to bf16; all others are fp32.
"""

from __future__ import annotations

import argparse
import importlib.util
import re
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from sandwiching.kernels import reference
from sandwiching.kernels.head import Head
from sandwiching.kernels.ops import linear_logprob, ppo_linear_loss
from sandwiching.kernels.surrogate import clipped_surrogate

SHAPES = {"A": (32768, 4096, 128256), "B": (32768, 2048, 152064), "C": (8192, 576, 49152)}
"""N rows, D hidden, V vocabulary."""
SETTINGS = (1.0, 0.2, 0.01)
"""Temperature, clip range, entropy coefficient."""
Inputs = tuple[Tensor, Tensor, Tensor]


def make_inputs(N: int, D: int, V: int, device: str) -> Inputs:
    """bf16 hidden states and weights, random (a GPU multiplies zeros faster), and targets."""
    hidden_ND = torch.randn(N, D, device=device, dtype=torch.bfloat16, requires_grad=True)
    weight_VD = (torch.randn(V, D, device=device) / D**0.5).bfloat16().requires_grad_()
    return hidden_ND, weight_VD, torch.randint(V, (N,), device=device)


def ppo_rest(target_N: Tensor) -> tuple:
    """old log-probs, advantages, mask and settings."""
    vector_N = torch.ones(len(target_N), device=target_N.device)
    return target_N, -10 * vector_N, vector_N, vector_N > 0, *SETTINGS, float(len(target_N))


def floor(inputs: Inputs, gemms: int) -> Callable[[], object]:
    """The GEMMs that no implementation can leave out, on chunks of 1024 rows, with fp32 sums."""
    hidden_ND, weight_VD, _ = (x.detach() for x in inputs)
    head, rows = Head(weight_VD), min(1024, len(hidden_ND))
    logits_RV = torch.empty(rows, len(weight_VD), dtype=torch.float32, device=hidden_ND.device)
    dweight_VD = torch.zeros(weight_VD.shape if gemms == 3 else (0,), device=hidden_ND.device)
    dlogits_RV = head.dlogits_buffer(logits_RV)

    def run() -> None:
        for chunk_RD in hidden_ND.split(rows):
            operand_RD, size = head.operand(chunk_RD), len(chunk_RD)
            head.logits(operand_RD, logits_RV[:size])
            if gemms == 3:
                head.dhidden(dlogits_RV[:size])
                head.add_dweight(dweight_VD, dlogits_RV[:size], operand_RD)

    return run


def variants(inputs: Inputs) -> dict[str, dict[str, Callable[[], object]]]:
    """Name -> forward or step -> what to time."""
    rest = ppo_rest(inputs[2])
    compiled_forward = torch.compile(reference.linear_logprob)
    compiled_loss = torch.compile(reference.ppo_linear_loss)

    def no_grad(function: Callable) -> Callable[[], object]:
        return lambda: torch.no_grad()(function)(*inputs)

    def step(loss: Callable[..., tuple[Tensor, object]]) -> Callable[[], object]:
        return lambda: loss(*inputs[:2], *rest)[0].backward()

    found = {
        "bare GEMMs": {"forward": floor(inputs, 1), "step": floor(inputs, 3)},
        "ours": {"forward": no_grad(linear_logprob), "step": step(ppo_linear_loss)},
        "plain torch": {"forward": no_grad(reference.linear_logprob), "step": step(reference.ppo_linear_loss)},
        "compiled torch": {"forward": no_grad(compiled_forward), "step": step(compiled_loss)},
    }
    if importlib.util.find_spec("liger_kernel") is not None:
        found["Liger"] = liger(inputs)
    if importlib.util.find_spec("trl") is not None:
        found["TRL, chunked"] = trl(inputs)
    return found


def liger(inputs: Inputs) -> dict[str, Callable[[], object]]:
    """Liger's fused PPO-family loss on sequences of 1024 tokens, no KL; it knows no entropy."""
    from liger_kernel.chunked_loss import LigerFusedLinearGRPOLoss  # pyright: ignore[reportMissingImports]

    hidden_ND, weight_VD, target_N = inputs
    loss = LigerFusedLinearGRPOLoss(beta=0.0, use_ref_model=False, temperature=SETTINGS[0], compiled=False)
    target_BT = target_N.view(-1, min(1024, len(target_N)))
    advantage_B = torch.ones(len(target_BT), device=target_N.device)

    def run() -> None:
        hidden_BTD = hidden_ND.view(*target_BT.shape, -1)
        loss(hidden_BTD, weight_VD, target_BT, torch.ones_like(target_BT), advantage_B)[0].backward()

    return {"step": run}


def trl(inputs: Inputs) -> dict[str, Callable[[], object]]:
    """TRL's chunked log-probs and entropies (its kernel on a GPU), and the loss on them."""
    from trl.kernels import ChunkedLogProbFunction
    from trl.trainer.utils import _CHUNKED_LOGPROB_CHUNK_SIZE

    hidden_ND, weight_VD, target_N = inputs

    def forward() -> tuple[Tensor, Tensor]:
        outputs = ChunkedLogProbFunction.apply(
            hidden_ND, weight_VD, None, target_N, SETTINGS[0], _CHUNKED_LOGPROB_CHUNK_SIZE, None, 1.0, ("entropy",)
        )
        assert outputs is not None
        return outputs[0], outputs[1]

    def step() -> None:
        (logprob_N, entropy_N), (_, old_N, advantage_N, *_) = forward(), ppo_rest(target_N)
        loss_N = clipped_surrogate(logprob_N, old_N, advantage_N, SETTINGS[1]).loss
        (loss_N - SETTINGS[2] * entropy_N).mean().backward()

    return {"forward": torch.no_grad()(forward), "step": step}


def reset_peak(inputs: Inputs) -> float:
    """Bytes in use now; the peak counts from here."""
    if inputs[0].is_cuda:
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        return torch.cuda.memory_allocated()
    Path("/proc/self/clear_refs").write_text("5")
    return status("VmRSS")


def peak(inputs: Inputs) -> float:
    """Bytes at the peak since `reset_peak`."""
    if inputs[0].is_cuda:
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated()
    return status("VmHWM")


def status(field: str) -> float:
    """A size of this process, in bytes (Linux)."""
    found = re.search(rf"{field}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found
    return 1024 * int(found[1])


def measure(run: Callable[[], object], inputs: Inputs, repeats: int) -> tuple[float, float]:
    """Median milliseconds, and MiB of peak memory beyond inputs and gradients."""
    times, extra = [], 0.0
    for repeat in range(repeats + 1):
        inputs[0].grad = inputs[1].grad = None
        before = reset_peak(inputs)
        started = time.perf_counter()
        run()
        if inputs[0].is_cuda:
            torch.cuda.synchronize()
        if repeat > 0:  # the first one compiles
            times.append(1000 * (time.perf_counter() - started))
            gradients = sum(x.grad.nbytes for x in inputs[:2] if x.grad is not None)
            extra = max(extra, (peak(inputs) - before - gradients) / 2**20)
    return statistics.median(times), extra


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shapes", nargs="+", choices=SHAPES, default=["C"])
    parser.add_argument("--rows", type=int, help="N instead of the shape's own")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--only", nargs="+", help="variants to run besides the floor")
    arguments = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    name = torch.cuda.get_device_name() if device == "cuda" else f"CPU, {torch.get_num_threads()} threads"
    print(f"torch {torch.__version__}, {name}\n")
    print("| shape | N, D, V | pass | variant | ms | % of floor | extra MiB |\n|---|---|---|---|---|---|---|")
    for shape in arguments.shapes:
        N, D, V = SHAPES[shape]
        inputs = make_inputs(arguments.rows or N, D, V, device)
        floors: dict[str, float] = {}
        for variant, passes in variants(inputs).items():
            if arguments.only and floors and variant not in arguments.only:
                continue
            for kind, run in passes.items():
                try:
                    milliseconds, extra = measure(run, inputs, arguments.repeats)
                except torch.OutOfMemoryError:
                    print(f"| {shape} | {len(inputs[0])}, {D}, {V} | {kind} | {variant} | out of memory | | |")
                    continue
                share = 100 * floors.setdefault(kind, milliseconds) / milliseconds
                row = f"| {kind} | {variant} | {milliseconds:.1f} | {share:.0f} | {extra:.0f} |"
                print(f"| {shape} | {len(inputs[0])}, {D}, {V} {row}", flush=True)


if __name__ == "__main__":
    main()
