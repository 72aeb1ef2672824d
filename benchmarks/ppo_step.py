"""Seconds a phase of a PPO step on this machine: full fine-tuning, a value model of its own, one process.

    python benchmarks/ppo_step.py --precision bf16
    python benchmarks/ppo_step.py --precision bf16 --peer "PEER_PYTHON trl_ppo.py MODEL 16 32 3 4 bf16" --rounds 2
    python benchmarks/ppo_step.py --peer "python benchmarks/ppo_step.py --kernels reference"    # without our kernels

With --peer, ours and the peer (any command that prints `update_seconds N` lines) alternate in one run, and the ratio of
their medians is printed: TRL 1.9.2's PPOTrainer is the one that docs/results.md compares with.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import resource
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SHAPES = {
    "1b": {
        "vocab_size": 128256,
        "hidden_size": 2048,
        "intermediate_size": 8192,
        "num_hidden_layers": 16,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "tie_word_embeddings": True,
    },
}
"""Of Llama 3.2 1B (1.24e9 parameters)."""
QUESTIONS = [
    "What happens if you swallow chewing gum?",
    "Is it safe to wake a sleepwalker?",
    "How do I treat a burn?",
    "Can cracking knuckles cause arthritis?",
]


def measure(arguments: argparse.Namespace) -> None:
    """Run the steps and print one JSON line each, then peak memory."""
    import torch
    from transformers import AutoModelForSequenceClassification

    from sandwiching.configs.schema import ModelConfig, PPOConfig, ResourcesConfig, RewardModelConfig, SamplingConfig
    from sandwiching.kernels.backends import use_backend
    from sandwiching.launch.local import LocalRoles
    from sandwiching.policy.base_models import resolve
    from sandwiching.policy.kl import KL_CONTROLLERS
    from sandwiching.policy.tokenization import encode_prompt, load_tokenizer
    from sandwiching.training.artifacts import Store
    from sandwiching.training.devices import use_threads
    from sandwiching.training.ppo import PPO, TrainState, Workers
    from sandwiching.training.prompts import PromptQueue
    from sandwiching.training.roles import EngineSpec, LearnerSpec, ScorerSpec

    use_threads(os.cpu_count() or 1)
    use_backend(arguments.kernels)
    with tempfile.TemporaryDirectory() as scratch:
        if arguments.random:
            arguments.model = str(Path(scratch) / "random")
            save_random(Path(arguments.model), arguments.random)
        base = resolve(arguments.model)
        tokenizer = load_tokenizer(base)
        reward = Path(scratch) / "reward"
        torch.manual_seed(0)
        head = AutoModelForSequenceClassification.from_pretrained(base, num_labels=1, dtype=torch.bfloat16)
        head.config.update({"reward_mean": 0.0, "reward_std": 1.0, "pad_token_id": tokenizer.pad_token_id})
        head.save_pretrained(reward)
        del head
        model = ModelConfig(path=arguments.model, precision=arguments.precision)
        ppo = PPOConfig(
            steps=arguments.updates,
            batch_size=arguments.batch,
            epochs=arguments.epochs,
            sampling=SamplingConfig(temperature=0.7, max_new_tokens=arguments.length),
            snapshot_every=10**6,
        )
        roles = LocalRoles(ResourcesConfig(micro_batch=arguments.micro_batch, zero_stage=arguments.zero_stage))
        workers = Workers(
            roles.engine(EngineSpec(base, model, adapters=False)),
            roles.scorer(ScorerSpec((reward,), base, model, temperature=0.7)),
            roles.learner(LearnerSpec(base, reward, model, ppo, seed=0)),
            part=arguments.batch,
            apart=False,
        )
        chats = [({"role": "user", "content": question},) for question in QUESTIONS]
        queue = PromptQueue(QUESTIONS, [encode_prompt(tokenizer, chat) for chat in chats], seed=0)
        kl = KL_CONTROLLERS["fixed"](0.05, 6.0, 10_000)
        loop = PPO(workers, TrainState(queue, kl, 0), ppo, RewardModelConfig(), seed=0)
        with Store(Path(scratch)).claim("ppo", "0" * 16, on_wait=print) as folder:
            for step in range(arguments.updates):
                started = time.perf_counter()
                record = loop.step(step, folder)
                seconds = time.perf_counter() - started
                report(record, seconds, arguments.batch)
    print(f"peak_rss_gib {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f}")
    if torch.cuda.is_available():
        print(f"peak_gpu_gib {torch.cuda.max_memory_allocated() / 2**30:.2f}")


def save_random(folder: Path, shape: str) -> None:
    """A Llama of this shape with random weights and SmolLM2's tokenizer."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from sandwiching.policy.base_models import resolve
    from sandwiching.policy.tokenization import load_tokenizer

    tokenizer = load_tokenizer(resolve("smollm2-135m"))
    special = {name: getattr(tokenizer, name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
    with torch.device("cuda" if torch.cuda.is_available() else "cpu"):
        model = LlamaForCausalLM(LlamaConfig(**SHAPES[shape], **special)).bfloat16()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def report(record: dict[str, float], seconds: float, batch: int) -> None:
    """One step's numbers."""
    phases = {name.removeprefix("time/"): round(value, 2) for name, value in record.items() if "time/" in name}
    tokens = record["ppo/response_tokens"] * batch
    print(json.dumps({**phases, "sampled_tokens_per_second": round(tokens / record["time/generate"], 1)}))
    print(f"update_seconds {seconds:.2f}", flush=True)


def timed(command: list[str]) -> tuple[list[float], float]:
    """(seconds an update after the first, peak GiB) of a command that prints them."""
    output = subprocess.run(command, capture_output=True, text=True, check=False)
    if output.returncode:
        raise SystemExit(f"{shlex.join(command)} failed:\n{output.stderr[-2000:]}")
    updates = [float(value) for value in re.findall(r"update_seconds ([\d.]+)", output.stdout)]
    memory = re.findall(r"peak_(?:rss|gpu)_gib ([\d.]+)", output.stdout)
    return updates[1:], float(memory[-1])  # the GPU's where there is one


def compare(arguments: argparse.Namespace, ours: list[str]) -> None:
    """Alternate ours and the peer; medians of the updates after each process's first."""
    peer = shlex.split(arguments.peer)
    results: dict[str, list[tuple[list[float], float]]] = {"ours": [], "peer": []}
    for number in range(arguments.rounds):
        for name, command in (("ours", ours), ("peer", peer)):
            results[name].append(timed(command))
            print(
                f"round {number} {name}: updates {results[name][-1][0]} s, peak {results[name][-1][1]} GiB", flush=True
            )
    medians = {
        name: statistics.median([value for updates, _ in runs for value in updates]) for name, runs in results.items()
    }
    peaks = {name: max(memory for _, memory in runs) for name, runs in results.items()}
    print(f"median seconds an update: ours {medians['ours']:.1f}, peer {medians['peer']:.1f}")
    print(
        f"speed-up {medians['peer'] / medians['ours']:.2f}x, memory ours {peaks['ours']} GiB, peer {peaks['peer']} GiB"
    )


def main() -> None:
    """Measure, or compare with a peer."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--random", choices=SHAPES, help="random weights of this shape, not --model")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--length", type=int, default=32)
    parser.add_argument("--updates", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--micro-batch", type=int, default=8)
    parser.add_argument("--zero-stage", type=int, help="default: 1 in bf16, 0 in fp32, which needs no master copy")
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="bf16")
    parser.add_argument("--kernels", default="auto", help="backend of our kernels")
    parser.add_argument("--peer", help="a command that prints update_seconds and peak_rss_gib lines")
    parser.add_argument("--rounds", type=int, default=2)
    arguments = parser.parse_args()
    if arguments.zero_stage is None:
        arguments.zero_stage = 1 if arguments.precision == "bf16" else 0
    if arguments.peer is None:
        measure(arguments)
    else:
        kept = [*("model", "batch", "length", "updates", "epochs", "micro_batch", "zero_stage", "precision", "kernels")]
        kept += ["random"] if arguments.random else []
        options = [part for name in kept for part in (f"--{name.replace('_', '-')}", str(getattr(arguments, name)))]
        compare(arguments, [sys.executable, __file__, *options])


if __name__ == "__main__":
    main()
