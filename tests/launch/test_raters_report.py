"""`sandwich raters report` from outside, and the whole report on votes with known raters and an expert."""

from __future__ import annotations

import io
import json
import random
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from sandwiching.launch.raters.report_view import show
from sandwiching.oversight.rater_report import RaterReport, as_json, report_on
from sandwiching.tasks.readers import read_judgements, write_judgements
from sandwiching.tasks.records import Judgement, Preference

MODELS = ["majority", "one_coin", "dawid_skene", "crowd_bradley_terry"]
SKILLS = [0.6, 0.6, 0.65, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.92, 0.95, 0.15]


def crowd(pairs: int = 240, each: int = 4, expert: bool = True) -> list[Judgement]:
    """Raters named by place in SKILLS on pairs of 8 groups, sides at random, and an expert who is always right."""
    draw, rows = random.Random(0), []
    for pair in range(pairs):
        raters = [(f"w{k}", SKILLS[k]) for k in draw.sample(range(len(SKILLS)), each)]
        for name, skill in [*raters, *([("expert", 1.0)] if expert else [])]:
            better_first, right = draw.random() < 0.5, draw.random() < skill
            preference: Preference = "a" if better_first == right else "b"
            if name != "expert" and draw.random() < 0.1:
                preference = "tie"
            texts = ("better", "worse") if better_first else ("worse", "better")
            tier = "expert" if name == "expert" else "weak"
            rows.append(Judgement(f"question {pair}", *texts, preference, name, tier, group=f"group {pair % 8}"))
    return rows


def report(rows: list[Judgement]) -> RaterReport:
    return report_on(rows, permutations=199, max_p=0.01, seed=0, confidence=0.95)


@pytest.fixture(scope="module")
def whole() -> RaterReport:
    return report(crowd())


def test_verdict_raters_and_models(whole: RaterReport) -> None:
    found = as_json(whole)
    assert list(found) == ["gate", "raters", "models"]
    gate = found["gate"]
    assert (gate["verdict"], gate["votes"], gate["pairs"], gate["raters"]) == ("YES", 960, 240, 12)
    halves = gate["split_half"]
    assert halves["low"] < halves["agreement"] < halves["high"]
    assert halves["agreement"] > 0.5
    assert [row["rater"] for row in found["raters"] if row["adversary"]] == ["w11"]
    assert found["raters"][-1]["rater"] == "w11"
    for row in found["raters"]:
        assert 0 < row["low"] < row["skill"] < row["high"] < 1
        assert row["shared_pairs"] == row["votes"]
        assert row["partners"] == 11
        assert list(row["models"]) == MODELS
    assert json.loads(json.dumps(found)) == found


def test_against_the_expert(whole: RaterReport) -> None:
    models = as_json(whole)["models"]
    assert list(models) == MODELS
    for name in MODELS:
        assert models[name]["agreement"]["items"] == 240
        assert models[name]["agreement"]["groups"] == 8
        quartiles = models[name]["quartiles"]
        assert [one["raters"] for one in quartiles] == [3, 3, 3, 3]
        assert quartiles[0]["accuracy"]["estimate"] < quartiles[3]["accuracy"]["estimate"] - 0.25
        gain = models[name]["agreement"]["estimate"] - models["majority"]["agreement"]["estimate"]
        assert models[name]["gain"]["estimate"] == pytest.approx(gain)
    assert models["majority"]["gain"]["low"] == models["majority"]["gain"]["high"] == 0
    assert models["one_coin"]["gain"]["estimate"] > 0.02


def test_agreement_and_quartiles_by_a_loop(whole: RaterReport) -> None:
    checks, votes = whole.checks, whole.table.votes
    assert checks is not None
    right = {"better": 1, "worse": -1}
    first = {}
    for row in crowd():
        first.setdefault(row.prompt, right[row.response_a])
    truth = list(first.values())
    sums = votes.by_pair(votes.sign_E)
    by_hand = [0.5 if s == 0 else float((s > 0) == (t > 0)) for s, t in zip(sums, truth, strict=True)]
    assert checks["majority"].agreement.estimate == pytest.approx(sum(by_hand) / len(by_hand))
    best = checks["one_coin"].quartiles[3]
    skills = whole.models["one_coin"].skill_K
    members = sorted(range(12), key=lambda k: skills[k])[9:]
    own = [
        sign * truth[pair]
        for pair, k, sign in zip(votes.pair_E, votes.rater_E, votes.sign_E, strict=True)
        if k in members
    ]
    assert best.accuracy is not None
    assert best.accuracy.estimate == pytest.approx(sum((1 + one) / 2 for one in own) / len(own))
    assert best.votes == len(own)


def test_no_when_labels_are_shuffled_within_rater() -> None:
    rows, draw = crowd(), random.Random(1)
    for name in {row.rater for row in rows if row.tier == "weak"}:
        own = [place for place, row in enumerate(rows) if row.rater == name]
        labels = [rows[place].preference for place in own]
        draw.shuffle(labels)
        for place, label in zip(own, labels, strict=True):
            rows[place] = replace(rows[place], preference=label)
    assert report(rows).gate.verdict == "NO"


def test_duplicates_when_planted() -> None:
    draw = random.Random(2)
    honest = [replace(row, score_a=draw.randint(1, 7), score_b=draw.randint(1, 7)) for row in crowd()]
    assert report(honest).gate.verdict == "YES"
    shared = {row.prompt: (draw.randint(1, 7), draw.randint(1, 7)) for row in honest[::15]}
    copied = []
    for row in honest:
        scores = shared.get(row.prompt, (row.score_a, row.score_b))
        if row.response_a == "worse" and row.prompt in shared:
            scores = scores[::-1]
        copied.append(replace(row, score_a=scores[0], score_b=scores[1]))
    assert report(copied).gate.verdict == "DUPLICATES"


def test_without_experts_and_of_experts_alone() -> None:
    weak = report(crowd(pairs=60, expert=False))
    assert (weak.tier, weak.checks) == ("weak", None)
    assert as_json(weak)["models"]["one_coin"]["agreement"] is None
    experts = report([row for row in crowd(pairs=60) if row.tier == "expert"])
    assert (experts.tier, experts.gate.verdict) == ("expert", "NO")
    with pytest.raises(ValueError, match="no judgements"):
        report([])


def test_the_table_names_what_it_says(whole: RaterReport) -> None:
    console = Console(width=140, record=True, file=io.StringIO())
    show(whole, False, console)
    text = console.export_text()
    for said in ("YES", "necessary, not sufficient", "permutation p", "240 pairs in 8 groups", "w11", "adversary"):
        assert said in text


def test_from_the_command_line(sandwich, tmp_path: Path) -> None:
    file = tmp_path / "judgements.jsonl.gz"
    write_judgements(file, crowd())
    done = sandwich("raters", "report", str(file), "--json", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["gate"]["verdict"] == "YES"
    hashed = {row.judgement.rater for row in read_judgements(file) if row.judgement.tier == "weak"}
    assert {row["rater"] for row in found["raters"]} == hashed


def test_other_schemas_and_wrong_input(sandwich, tmp_path: Path) -> None:
    (tmp_path / "trl.jsonl").write_text(json.dumps({"prompt": "p", "chosen": "a", "rejected": "b"}) + "\n")
    arguments = ("raters", "report", "trl.jsonl", "--format", "trl")
    lacking = sandwich(*arguments, folder=tmp_path)
    assert lacking.returncode == 2
    assert "trl.jsonl:1: " in lacking.stderr
    done = sandwich(*arguments, "--tier", "weak", "--rater", "somebody", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "No pair was judged by two raters" in done.stdout
    wrong = sandwich(*arguments, "--tier", "good", folder=tmp_path)
    assert (wrong.returncode, "use one of weak, expert" in wrong.stderr) == (2, True)
