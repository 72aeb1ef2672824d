"""`sandwich raters fit`: from a file of judgements to a population that a config takes."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from typer.testing import CliRunner

from sandwiching.configs.load import load
from sandwiching.launch.cli import app
from sandwiching.tasks.readers import write_judgements
from sandwiching.tasks.records import Judgement


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """40 pairs in 8 groups, each judged by 3 of 6 people who mostly take the longer response; an expert the shorter."""
    draw = random.Random(0)
    rows = []
    for number in range(40):
        short, long = f"{number} it is", f"{number} it is and has always been, I am told"
        a, b = (short, long) if draw.random() < 0.5 else (long, short)
        longer, shorter = ("a", "b") if a == long else ("b", "a")
        for rater in draw.sample(range(6), 3):
            verdict = draw.choices([longer, shorter, "tie"], [0.7, 0.2, 0.1])[0]
            rows.append(Judgement(f"question {number}", a, b, verdict, f"r{rater}", "weak", group=f"g{number % 8}"))  # pyright: ignore[reportArgumentType]
        rows.append(Judgement(f"question {number}", a, b, shorter, "e", "expert", group=f"g{number % 8}"))  # pyright: ignore[reportArgumentType]
    write_judgements(tmp_path / "judgements.jsonl", rows)
    return tmp_path / "judgements.jsonl"


def test_a_fit_is_shown_and_its_population_is_a_config(file: Path, tmp_path: Path) -> None:
    output = tmp_path / "habits.yaml"
    done = CliRunner().invoke(app, ["raters", "fit", str(file), "--truth", "none", "--json", "--output", str(output)])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert (found["votes"], found["pairs"], found["raters"], found["clusters"]) == (120, 40, 6, 8)
    bias = found["habits"]["doubling_bias"]
    assert 0 < bias["low"] < bias["value"] < bias["high"]
    assert "competence" not in found["habits"]
    real, simulated = found["real"]["takes the longer"], found["simulated"]["takes the longer"]
    assert real["estimate"] > 0.65
    assert simulated["estimate"] == pytest.approx(real["estimate"], abs=0.15)
    assert found["population"] == output.read_text()
    config = tmp_path / "mine.yaml"
    config.write_text(
        f"extends: {output.name}\nname: mine\nmodel: {{path: tiny}}\ntask: {{name: judgements}}\nppo: null\n"
        f"data: {{judgements: {file}}}\narms: {{weak: {{tier: weak}}}}\n"
    )
    settings = load(config)
    assert settings.judgements.raters == "simulated"
    assert settings.task.population["fitted"].doubling_bias == pytest.approx(bias["value"], abs=1e-4)


def test_experts_give_the_truth_that_competence_goes_by(file: Path) -> None:
    done = CliRunner().invoke(app, ["raters", "fit", str(file)])
    assert done.exit_code == 0, done.output
    # The expert takes the shorter one, so that against the same length nothing is known of competence; it is there.
    for text in ("competence", "Real and simulated", "takes the longer", "agrees with the truth", "truth: expert"):
        assert text in done.stdout


def test_wrong_options_say_what_would_be_right(file: Path) -> None:
    for arguments, said in (
        (["--tier", "gold"], "use one of weak, expert"),
        (["--truth", "weak"], "use one of expert, none"),
    ):
        done = CliRunner().invoke(app, ["raters", "fit", str(file), *arguments])
        assert isinstance(done.exception, ValueError)
        assert said in str(done.exception)
    write_judgements(file, [Judgement("q", "a", "b", "a", "x", "expert")])
    done = CliRunner().invoke(app, ["raters", "fit", str(file)])
    assert "no judgement of tier weak" in str(done.exception)
