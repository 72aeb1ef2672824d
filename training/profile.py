"""One PPO step as a Chrome trace, and how much of it each role worked: `sandwich run --profile`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import AutoConfig, AutoModelForCausalLM

from sandwiching.configs.schema import PPOConfig
from sandwiching.training.artifacts import write_atomic
from sandwiching.training.spans import Span, Spans, busy_seconds, chrome_trace


@dataclass(frozen=True, slots=True)
class Work:
    """What the roles of a step had to do: tokens of prompts and responses (padding is no work), and FLOPs, by role.

    FLOPs are the model's: 2 a parameter and token forward, 4 more backward; attention's products are left out.
    """

    tokens: Mapping[str, int]
    flops: Mapping[str, float]


def trunk_parameters(folder: Path) -> int:
    """Parameters of the model in `folder`, embeddings and head aside."""
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(folder))
    outside = {id(module.weight) for module in (model.get_input_embeddings(), model.get_output_embeddings())}
    return sum(p.numel() for p in model.parameters() if id(p) not in outside)


def step_work(record: Mapping[str, float], ppo: PPOConfig, lora: bool, parameters: int, passes: int) -> Work:
    """Of one step with these metrics; `parameters`: see trunk_parameters; passes: of the reward ensemble, a text."""
    tokens = int(record["ppo/tokens"])
    forward = 2.0 * parameters * tokens
    networks = 2 if ppo.advantage == "gae" and ppo.value == "model" else 1
    # A frozen trunk has no gradients of weights: backward is one pass, not two.
    update = ppo.epochs * networks * forward * (2 if lora else 3)
    return Work(
        tokens={
            "engine": round(record["ppo/response_tokens"] * ppo.batch_size),
            "scorer": tokens * (passes + (not lora)),
            "learner": tokens * (networks + lora + ppo.epochs * networks),
        },
        flops={
            "engine": forward,
            "scorer": forward * (passes + (not lora)),
            "learner": forward * (networks + lora) + update,
        },
    )


@dataclass(frozen=True, slots=True)
class Profile:
    """Where a profile goes, and what it has to know of the run. lora: whether the policy is an adapter; passes: of the
    reward ensemble, a text."""

    folder: Path
    model: Path
    precision: str
    ppo: PPOConfig
    lora: bool
    passes: int

    def write(
        self, spans: Spans, start: float, end: float, record: Mapping[str, float], peak: Mapping[str, float]
    ) -> None:
        """Of the step between `start` and `end`: profile.json (chrome://tracing, Perfetto) and profile.txt, a table.

        peak: FLOP/s that a role's devices can reach, of the roles of which it is known.
        """
        recorded = spans.within(start, end)
        work = step_work(record, self.ppo, self.lora, trunk_parameters(self.model), self.passes)
        write_atomic(self.folder / "profile.json", json.dumps(chrome_trace(recorded, start)))
        write_atomic(self.folder / "profile.txt", table(recorded, end - start, work, peak))


def table(spans: list[Span], seconds: float, work: Work, peak: Mapping[str, float]) -> str:
    """A line a role; MFU: share of its `peak` FLOP/s while it worked."""
    busy = busy_seconds(spans)
    reached = f"; large matrix products reach {peak['learner'] / 1e12:.3g} TFLOP/s" if "learner" in peak else ""
    lines = [
        f"one PPO step, {seconds:.2f} s{reached}",
        "",
        f"{'role':8} {'busy s':>8} {'idle':>6} {'tokens/s':>9} {'GFLOP/s':>8} {'MFU':>5}",
    ]
    for role, tokens in work.tokens.items():
        worked = busy.get(role, 0.0)
        if not worked:
            lines.append(f"{role:8} {worked:8.2f} {'-':>6} {'-':>9} {'-':>8} {'-':>5}")  # what it did was done before
            continue
        rate = work.flops[role] / worked
        idle = 1 - worked / seconds
        share = f"{rate / peak[role]:5.0%}" if role in peak else f"{'-':>5}"
        lines.append(f"{role:8} {worked:8.2f} {idle:6.0%} {tokens / worked:9.0f} {rate / 1e9:8.1f} {share}")
    return "\n".join(lines) + "\n"
