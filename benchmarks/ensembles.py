"""What a reward ensemble costs against one member: scoring time, memory, and how far its scores are from those of the
exported members one by one.

    python benchmarks/ensembles.py                       # 5 members of each kind on SmolLM2, untrained
    python benchmarks/ensembles.py --kinds lora --members STORE/reward_model-KEY STORE/reward_model-KEY   # trained ones

Times: both scorers in one process, taking turns, CPU seconds of one thread's work (wall seconds depend on what else a
machine does). Memory: a process each; resident after scoring, and at most. Scores (trained members): texts of the task
capitals; what is right is the exported fp32 model in fp32.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
import torch
from torch import Tensor

from sandwiching.configs.schema import CapitalsTask, DataConfig, ModelConfig
from sandwiching.policy.base_models import resolve
from sandwiching.policy.loading import load_score_model
from sandwiching.policy.lora import LoraSpec, attach, export
from sandwiching.policy.records import Rollouts
from sandwiching.policy.tokenization import encode, load_tokenizer, pad_token_id
from sandwiching.reward_model.heads import init_score_head
from sandwiching.reward_model.normalise import write_statistics
from sandwiching.tasks.answers import candidates
from sandwiching.tasks.capitals import Capitals
from sandwiching.training.artifacts import StageFolder, read_manifest, write_manifest
from sandwiching.training.devices import compute_dtype, release_freed_memory, use_threads
from sandwiching.training.members import Adapters
from sandwiching.training.roles import ScorerSpec
from sandwiching.training.scorer import TransformersScorer
from sandwiching.training.text_scores import as_rollouts

WAYS = ("one", "shared", "separate")


def texts(model: Path, rows: int) -> Rollouts:
    """Questions with right and wrong answers as sentences."""
    tokenizer = load_tokenizer(model)
    task = Capitals(CapitalsTask(name="capitals"), DataConfig(), 0)
    tokens = []
    for prompt in task.prompts("final")[: -(-rows // 4)]:
        fact = task.facts[prompt.id]
        tokens += [encode(tokenizer, prompt.text, fact.sentence(name), True, " ") for name in candidates(fact)]
    return as_rollouts(tokens[:rows], [True] * rows, pad_token_id(tokenizer))


def write_members(folder: Path, trunk: Path, kind: str, count: int) -> list[Path]:
    """Reward models as training leaves them: the first with an adapter and a head at random, the others its copies
    (hard links), which cost the same."""
    tokenizer = load_tokenizer(trunk)
    model = load_score_model(trunk, torch.float32, num_labels=1, pad_token_id=pad_token_id(tokenizer))
    init_score_head(model, 0)
    first = StageFolder(folder / "member_0", 0)
    first.path.mkdir()
    trained = model if kind == "probe" else attach(model, LoraSpec(16, 32), 0, "SEQ_CLS")
    export(trained, tokenizer, first.model, None if kind == "probe" else first.adapter)
    write_statistics(first.model, 0.0, 1.0)
    named = {"stage": "reward_model", "version": 1, "key": "0", "inputs": {}, "parents": {}}
    write_manifest(first, named | {"metrics": {}, "seconds": 0.0, "environment": {}})
    others = [folder / f"member_{k}" for k in range(1, count)]
    for other in others:
        shutil.copytree(first.path, other, copy_function=os.link)
    return [first.path, *others]


def scorer(way: str, kind: str, members: list[Path], trunk: Path, precision: str) -> TransformersScorer:
    """One member, all on one trunk, or a whole model each."""
    models = tuple(member / "model" for member in (members[:1] if way == "one" else members))
    config = ModelConfig(path=str(trunk), precision=precision)
    return TransformersScorer(ScorerSpec(models, None, config, 1.0, kind if way == "shared" else "full", trunk), 64)


def memory(way: str, kind: str, members: list[Path], trunk: Path, arguments: argparse.Namespace) -> dict[str, float]:
    """MB of a process of its own that scores once: resident afterwards, and at most."""
    command = [sys.executable, __file__, "--precision", arguments.precision, "--rows", str(arguments.rows)]
    command += ["--measure", way, "--kinds", kind, "--trunk", str(trunk), "--members", *map(str, members)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def measure(arguments: argparse.Namespace, members: list[Path], trunk: Path) -> None:
    """What `memory` asks of its process."""
    held = scorer(arguments.measure, arguments.kinds[0], members, trunk, arguments.precision)
    held.score(texts(trunk, arguments.rows))
    release_freed_memory()
    resident = psutil.Process().memory_info().rss
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"resident": resident / 1e6, "most": most / 1e6}))


def times(kind: str, members: list[Path], trunk: Path, arguments: argparse.Namespace) -> dict[str, float]:
    """Median CPU seconds a batch, the ways taking turns."""
    rollouts = texts(trunk, arguments.rows)
    scorers = {way: scorer(way, kind, members, trunk, arguments.precision) for way in ("one", "shared")}
    seconds: dict[str, list[float]] = {way: [] for way in scorers}
    for _ in range(arguments.rounds + 1):
        for way, held in scorers.items():
            started = time.process_time()
            held.score(rollouts)
            seconds[way].append(time.process_time() - started)
    return {way: statistics.median(values[1:]) for way, values in seconds.items()}


def errors(kind: str, members: list[Path], trunk: Path, arguments: argparse.Namespace) -> dict[str, float]:
    """Mean absolute error of normalised scores, shared and one by one, against the exported members in fp32."""
    rollouts, held_model = texts(trunk, arguments.rows), ModelConfig(path=str(trunk))

    def scores(way: str, precision: str) -> Tensor:
        held = scorer(way, kind, members, trunk, precision)
        if way == "shared" and kind == "lora":
            # Also in bf16, where the pipeline does not.
            spec = ScorerSpec(tuple(member / "model" for member in members), None, held_model, 1.0, kind, trunk)
            held.members = Adapters(spec, compute_dtype(precision))
        return held.score(rollouts).rewards_KB

    right_KB = scores("separate", "fp32")
    found = {
        f"{way}, {precision}": float((scores(way, precision) - right_KB).abs().mean())
        for precision in ("fp32", "bf16")
        for way in ("shared", "separate")
        if (way, precision) != ("separate", "fp32")
    }
    return found | {"deviation of the scores": float(right_KB.std(1).mean())}


def report(kind: str, members: list[Path], trunk: Path, arguments: argparse.Namespace) -> None:
    """One kind's tables."""
    used = {way: memory(way, kind, members, trunk, arguments) for way in WAYS}
    took = times(kind, members, trunk, arguments)
    print(f"\n{kind}, {len(members)} members, {arguments.precision}, {arguments.rows} texts\n")
    print("| | CPU s a batch | x one | MB resident | x one | MB at most | x one |\n|---|---|---|---|---|---|---|")
    for way in WAYS:
        cells = [f"{took[way]:.3f}", f"{took[way] / took['one']:.2f}"] if way in took else ["", ""]
        for name in ("resident", "most"):
            cells += [f"{used[way][name]:.0f}", f"{used[way][name] / used['one'][name]:.2f}"]
        print(f"| {way} | {' | '.join(cells)} |")
    if not arguments.members:
        return
    print("\nmean |difference| from the exported members in fp32:")
    for name, value in errors(kind, members, trunk, arguments).items():
        print(f"  {name}: {value:.2g}")


def main() -> None:
    """Print a table a kind."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kinds", nargs="+", default=["probe", "lora"], choices=["probe", "lora"])
    parser.add_argument("--members", nargs="+", type=Path, help="artifacts of trained members of one kind")
    parser.add_argument("--trunk", type=Path, help="model folder that they started from; by default that of their sft")
    parser.add_argument("--count", type=int, default=5)
    parser.add_argument("--precision", default="fp32", choices=["fp32", "bf16"])
    parser.add_argument("--rows", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--measure", choices=WAYS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    use_threads(1)
    if arguments.members:
        first = arguments.members[0]
        trunk = arguments.trunk or first.parent / f"sft-{read_manifest(first).parents['sft']}" / "model"
        (measure if arguments.measure else lambda a, m, t: report(a.kinds[0], m, t, a))(
            arguments, arguments.members, trunk
        )
        return
    for kind in arguments.kinds:
        with tempfile.TemporaryDirectory() as name:
            trunk = resolve("smollm2-135m")
            report(kind, write_members(Path(name), trunk, kind, arguments.count), trunk, arguments)


if __name__ == "__main__":
    main()
