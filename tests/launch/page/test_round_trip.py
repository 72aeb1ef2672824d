"""docs/page.md, as it stands there: a run's pairs go to people; what they say trains the next run's reward model."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from sandwiching.launch.page.app import make_app
from sandwiching.launch.page.records import Terms
from sandwiching.launch.page.tables import connect
from sandwiching.tasks.readers import read_judgements

DOCS = Path(__file__).parents[3] / "docs" / "page.md"
SMALL = ["model.lora.rank=4", "reward_model.batch_texts=8", "resources.micro_batch=8", "tracking.to=[]"]


def judge_all(client: TestClient, home: str) -> int:
    """Take the longer answer of every pair."""
    done = 0
    while 'id="judge"' in (body := client.get(home).text):
        form = dict(re.findall(r'name="(key|attempt)" value="([^"]+)"', body[body.index('id="judge"') :]))
        first, second = re.findall(r'<span class="text" dir="auto">(.*?)</span>', body, re.S)
        choice = "first" if len(first) > len(second) else "second"
        reply = client.post(home + "judge", data={**form, "choice": choice, "confidence": "certain"})
        assert reply.status_code == 303
        done += 1
    return done


@pytest.mark.slow
def test_what_people_say_of_a_runs_pairs_trains_a_reward_model(sandwich, tmp_path: Path) -> None:
    done = sandwich("run", "tiny", "--no-ray", "--only", "pairs", "tracking.to=[]", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    done = sandwich("raters", "invite", "tiny", "ann", "ben", "--json", folder=tmp_path)
    links = json.loads(done.stdout)
    # Serves nothing: the address is not this machine's. The pairs are in the database then.
    refused = sandwich("raters", "serve", "tiny", "--host", "192.0.2.1", folder=tmp_path)
    assert "cannot listen" in refused.stderr
    engine = connect(str(tmp_path / "runs/tiny/raters.sqlite"))
    client = TestClient(make_app(engine, Terms(labels_per_pair=2)), follow_redirects=False)
    judged = [judge_all(client, "/r/" + link.split("/r/")[1]) for link in links.values()]
    assert judged[0] == judged[1] > 0
    engine.dispose()

    done = sandwich("raters", "export", "tiny", "judgements.jsonl", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    rows = read_judgements(tmp_path / "judgements.jsonl")
    assert len(rows) == sum(judged)
    assert {row.judgement.tier for row in rows} == {"weak"}
    progress = json.loads(sandwich("raters", "progress", "tiny", "--json", folder=tmp_path).stdout)
    assert [row["judged"] for row in progress] == judged

    (tmp_path / "people.yaml").write_text(DOCS.read_text().split("```yaml\n")[1].split("```")[0])
    done = sandwich("run", "people.yaml", "--no-ray", "--json", "--only", "reward_model", *SMALL, folder=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    stages = {stage["name"]: stage for stage in json.loads(done.stdout)["stages"]}
    (trained,) = [stage for name, stage in stages.items() if name.startswith("reward_model")]
    assert trained["state"] == "done"
    assert (Path(trained["folder"]) / "model" / "model.safetensors").exists()
    used = read_judgements(Path(stages["judgements-seed0-weak"]["folder"]) / "judgements.jsonl.gz")
    assert 0 < len(used) < len(rows), "the groups that are held out are left out"
