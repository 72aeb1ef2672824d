"""docs/labels.md with people: the run waits, the page collects, and the same command goes on, round by round."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from sandwiching.launch.page.app import make_app
from sandwiching.launch.page.records import Terms
from sandwiching.launch.page.tables import connect
from sandwiching.tasks.readers import read_judgements
from sandwiching.training.pairs import read_pairs

from .test_round_trip import judge_all

RUN = [
    "run",
    "tiny",
    "--no-ray",
    "--json",
    "arms.ceiling=null",
    "reward_model.kind=probe",
    "ppo=null",
    "check.split=dev",
]
SPENT = ["labels.rounds=2", "labels.pairs_per_round=4", "judgements.raters=people", "tracking.to=[]"]


@pytest.mark.slow
def test_a_run_waits_for_people_twice_and_goes_on_from_the_page(sandwich, tmp_path: Path) -> None:
    command = [*RUN, *SPENT, "judgements.people.weak=people-{round}.jsonl"]
    invited = None
    for turn in (0, 1):
        stopped = sandwich(*command, folder=tmp_path)
        file, slug = tmp_path / f"people-{turn}.jsonl", f"choice-seed0-round{turn}"
        assert stopped.returncode == 3, stopped.stdout + stopped.stderr
        said = " ".join(stopped.stderr.split())
        assert f"4 pairs wait for weak people: have {tmp_path}" in said
        assert f"--pairs {slug}" in said
        assert str(file) in said
        planned = json.loads(sandwich("plan", "tiny", "--json", *command[4:], folder=tmp_path).stdout)["stages"]
        reasons = {stage["name"]: stage["reason"] for stage in planned}
        assert reasons[f"judgements-seed0-weak-round{turn}"] == f"waits for people: {file.name}"
        assert reasons["check"] == f"waits for people: {file.name}"
        if invited is None:
            invited = json.loads(sandwich("raters", "invite", "tiny", "ann", "ben", "--json", folder=tmp_path).stdout)
        # Serves nothing: the address is not this machine's. The pairs are in the database then.
        refused = sandwich("raters", "serve", "tiny", "--pairs", slug, "--host", "192.0.2.1", folder=tmp_path)
        assert "cannot listen" in refused.stderr
        engine = connect(str(tmp_path / "runs/tiny/raters.sqlite"))
        client = TestClient(make_app(engine, Terms(labels_per_pair=2)), follow_redirects=False)
        assert [judge_all(client, "/r/" + link.split("/r/")[1]) for link in invited.values()] == [4, 4]
        engine.dispose()
        export = ["raters", "export", "tiny", str(file), "--pairs", slug, "--tier", "weak"]
        assert sandwich(*export, folder=tmp_path).returncode == 0
    done = sandwich(*command, folder=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    found = {stage["name"]: stage for stage in json.loads(done.stdout)["stages"]}
    assert {stage["state"] for stage in found.values()} == {"done"}
    folders = [Path(found[f"judgements-seed0-weak-round{turn}"]["folder"]) for turn in (0, 1)]
    first, both = ([row.judgement for row in read_judgements(folder / "judgements.jsonl.gz")] for folder in folders)
    assert both[:8] == first
    assert len(both) == 16
    asked = [read_pairs(Path(found[f"choice-seed0-round{turn}"]["folder"])) for turn in (0, 1)]
    assert [len({row.pair for row in rows}) for rows in (first, both[8:])] == [4, 4]
    assert {row.pair for row in both[8:]} == {pair.id for pair, _, _ in asked[1]}
    (tmp_path / "people-1.jsonl").write_text(
        (tmp_path / "people-1.jsonl").read_text().replace('"preference": "a"', '"preference": "b"')
    )
    planned = json.loads(sandwich("plan", "tiny", "--json", *command[4:], folder=tmp_path).stdout)["stages"]
    actions = {stage["name"]: stage["action"] for stage in planned}
    assert actions["judgements-seed0-weak-round0"] == "skip"
    assert actions["judgements-seed0-weak-round1"] == "run", "another crowd is another artifact"
