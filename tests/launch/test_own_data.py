"""README's "Your own data", as it stands there: a file of judgements through SFT, reward models, PPO and the check."""

from __future__ import annotations

import json
import random
from pathlib import Path

from sandwiching.oversight.item_records import item_records
from sandwiching.tasks.readers import read_judgements
from sandwiching.training.metrics import read_metrics

README = Path(__file__).parents[2] / "README.md"
SMALL = [
    "model.path=tiny",
    "model.lora.rank=4",
    "sft.batch_size=8",
    "reward_model.batch_texts=16",
    "ppo.steps=2",
    "ppo.batch_size=8",
    "ppo.epochs=1",
    "ppo.sampling.max_new_tokens=4",
    "resources.micro_batch=8",
    "tracking.to=[]",
]
"""Sizes alone: whatever else decides how such a run goes is the README's."""


def readme_config() -> str:
    section = README.read_text().split("## Your own data")[1]
    return section.split("```yaml\n")[1].split("```")[0]


def write_judgements(file: Path) -> None:
    """8 groups of 3 prompts; an expert takes the shorter response, and three weak raters mostly the longer one."""
    draw = random.Random(0)
    with file.open("w") as stream:
        for number in range(24):
            short, long = f"{number}.", f"It is {number}, as everybody knows."
            a, b = (short, long) if draw.random() < 0.5 else (long, short)
            longer, shorter = ("a", "b") if a == long else ("b", "a")
            votes = [("weak", f"person {i}", longer if draw.random() < 0.8 else shorter) for i in range(3)]
            for tier, rater, preference in [*votes, ("expert", "professor", shorter)]:
                row = {
                    "prompt": f"Question {number}:",
                    "response_a": a,
                    "response_b": b,
                    "group": f"topic {number % 8}",
                }
                stream.write(json.dumps({**row, "preference": preference, "rater": rater, "tier": tier}) + "\n")


def test_the_readme_config_goes_from_judgements_to_a_checked_policy(sandwich, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(readme_config())
    write_judgements(tmp_path / "judgements.jsonl")
    done = sandwich("run", "mine.yaml", "--no-ray", "--json", *SMALL, folder=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    stages = json.loads(done.stdout)["stages"]
    assert {stage["state"] for stage in stages} == {"done"}
    assert [stage["stage"] for stage in stages].count("ppo") == 2
    artifacts = {stage["name"]: Path(stage["folder"]) for stage in stages}

    trained_on = set()
    for tier, votes in (("weak", 3), ("expert", 1)):
        rows = read_judgements(artifacts[f"judgements-seed0-{tier}"] / "judgements.jsonl.gz")
        assert {row.judgement.tier for row in rows} == {tier}
        trained_on |= {row.judgement.group for row in rows}
        assert len(rows) == 3 * votes * len(trained_on)
    check = artifacts["check"]
    result = item_records(None, check).record()
    held_out = {pair["group"] for pair in result["pairs"]}
    assert len(held_out) == 3
    assert not held_out & trained_on
    assert len(result["pairs"]) == 3 * len(held_out)

    metrics = json.loads((check / "manifest.json").read_text())["metrics"]
    # The expert takes the shorter response every time.
    assert metrics["check/the_longer_one/agreement"] == 0
    assert metrics["check/weak_majority/agreement"] < 0.5
    assert {"check/weak/over_weak_majority", "check/ceiling/over_weak_majority"} <= metrics.keys()
    table = (check / "check.txt").read_text()
    assert all(name in table for name in ("weak", "ceiling", "the longer one", "one weak vote", "weak majority"))
    curves = {curve["arm"]: curve for curve in json.loads((check / "curves.json").read_text())}
    assert (check / "check.svg").exists()
    assert (check / "curves.svg").exists()
    for arm in ("weak", "ceiling"):
        ppo = artifacts[f"ppo-{arm}-seed0"]
        rows = read_metrics(ppo / "metrics.jsonl")
        assert curves[arm]["reward"] == [row["ppo/score"] for row in rows]
        assert curves[arm]["kl"] == [row["ppo/kl"] for row in rows]
        assert len(rows) == 2
        assert (ppo / "model" / "model.safetensors").exists()
        assert (ppo / "adapter" / "adapter_model.safetensors").exists()
