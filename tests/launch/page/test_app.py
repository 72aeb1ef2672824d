"""The page over HTTP, without a browser: what is sent to whom, what is refused, and what a page may contain."""

from __future__ import annotations

import html
import json
import re
from pathlib import Path

import pytest
from sqlalchemy import Engine
from starlette.testclient import TestClient

from sandwiching.launch.page import app as app_module
from sandwiching.launch.page.app import make_app
from sandwiching.launch.page.collect import add_pairs, invite
from sandwiching.launch.page.export import export_judgements, standings
from sandwiching.launch.page.forms import LONGEST_WHY, MOST_BYTES
from sandwiching.launch.page.records import Terms
from sandwiching.launch.page.tables import connect, create
from sandwiching.tasks.pair_rows import PairRow
from sandwiching.tasks.readers import hash_rater, read_judgements
from sandwiching.tasks.records import Pair, Prompt
from sandwiching.tasks.votes import habits_table, votes_of

from .conftest import HIDDEN

TERMS = Terms(labels_per_pair=2)
EVIL = "</span><script>alert('x')</script><img src=x onerror=alert(1)>&\"'{{ 7 * 7 }}"


def client_of(engine: Engine, terms: Terms = TERMS) -> TestClient:
    return TestClient(make_app(engine, terms), follow_redirects=False)


def form_of(body: str, **said: str) -> dict[str, str]:
    """The judging form of a page, filled in."""
    hidden = dict(re.findall(r'name="(key|attempt)" value="([^"]+)"', body[body.index('id="judge"') :]))
    return {**hidden, "choice": "first", "confidence": "fairly", "seconds": "1.5", "why": "", **said}


def undo_of(body: str) -> dict[str, str]:
    return dict(re.findall(r'name="(key|attempt)" value="([^"]+)"', body[body.index('id="undo"') :])[:2])


def test_a_verdict_goes_from_the_form_to_the_file(collection, tmp_path: Path) -> None:
    engine, secrets = collection(3, "ann")
    client, home = client_of(engine), f"/r/{secrets['ann']}/"
    body = client.get(home).text
    shown = re.findall(r'<span class="text" dir="auto">(.*?)</span>', body)
    reply = client.post(home + "judge", data=form_of(body, choice="second", confidence="certain", why=" ü <b> "))
    assert (reply.status_code, reply.headers["location"]) == (303, "./")
    assert "1 judged by you" in client.get(home).text
    export_judgements(engine, tmp_path / "out.jsonl.gz")
    export_judgements(engine, tmp_path / "out.jsonl")
    (row,) = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [row["response_a"], row["response_b"]] == [html.unescape(text) for text in shown]
    assert (row["preference"], row["shown"]) == ("b", "ab")
    assert (row["rater"], row["tier"], row["confidence"]) == (standings(engine)[0].rater, "weak", 1.0)
    assert row["why"] == "ü <b>"
    assert row["group"].startswith("group-")
    ended = {row["response_a"]: row["finished_a"], row["response_b"]: row["finished_b"]}
    even = int(row["pair"].split("/")[1]) % 2 == 0
    assert {text[:5].strip(): finished for text, finished in ended.items()} == {"short": True, "long": even}


def test_rows_stand_as_they_were_shown_and_a_position_bias_is_measured(collection, tmp_path: Path) -> None:
    engine, secrets = collection(40, "ann", "expert eve")
    client = client_of(engine)
    for secret, choice in ((secrets["ann"], "first"), (secrets["expert eve"], "second")):
        home = f"/r/{secret}/"
        while 'id="judge"' in (body := client.get(home).text):
            client.post(home + "judge", data=form_of(body, choice=choice))
    shares = {}
    for tier in ("weak", "expert"):
        file = tmp_path / f"{tier}.jsonl"
        assert export_judgements(engine, file, tier=tier) == 40
        rows = [row.judgement for row in read_judgements(file)]
        assert {row.shown for row in rows} == {"ab" if tier == "weak" else "ab+source+references"}
        assert 5 < sum(row.response_a.startswith("short") for row in rows) < 35
        shares[tier] = habits_table(votes_of(rows, {}), 2.0)["takes the first"].estimate
    assert shares == {"weak": 1.0, "expert": 0.0}
    some = {"pair/1", "pair/2"}
    assert export_judgements(engine, tmp_path / "some.jsonl", tier="weak", pair_ids=some) == 2
    with pytest.raises(ValueError, match="none of these pairs has been judged yet by expert raters"):
        export_judgements(engine, tmp_path / "none.jsonl", tier="expert", pair_ids={"pair/99"})


def test_a_name_cannot_be_found_by_trying_without_the_database(tmp_path: Path) -> None:
    ids = []
    for name in ("one", "two"):
        engine = connect(str(tmp_path / name))
        create(engine)
        invite(engine, "ann", "weak")
        create(engine)
        invite(engine, "ann", "weak")
        ids += [row.rater for row in standings(engine)]
        engine.dispose()
    assert len(set(ids)) == 2 == len(ids), "another database, another id"
    assert hash_rater("ann") not in ids
    assert [hash_rater(one) for one in ids] == ids, "readers leave it as it is"


def test_the_script_is_told_so_in_a_way_that_no_proxy_would(collection) -> None:
    engine, secrets = collection(2, "ann")
    client, home = client_of(engine), f"/r/{secrets['ann']}/"
    form = form_of(client.get(home).text)
    reply = client.post(home + "judge", data=form, headers={"Prefer": "return=minimal"})
    assert (reply.status_code, reply.headers["preference-applied"], reply.text) == (204, "return=minimal", "")
    assert "1 judged by you" in client.get(home).text
    refused = client.post(home + "judge", data={**form, "choice": "none"}, headers={"Prefer": "return=minimal"})
    assert refused.status_code == 400
    assert "preference-applied" not in refused.headers


def test_the_time_is_the_browsers_unless_it_is_more_than_passed(collection, tmp_path: Path) -> None:
    engine, secrets = collection(4, "ann")
    client, home = client_of(engine), f"/r/{secrets['ann']}/"
    for claimed in ("0.5", "3600", "nan", "-4"):
        client.post(home + "judge", data=form_of(client.get(home).text, seconds=claimed))
    export_judgements(engine, tmp_path / "out.jsonl")
    times = [json.loads(line)["seconds"] for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert times[0] == 0.5
    assert all(0 <= seconds < 30 for seconds in times[1:])


def test_texts_are_escaped_wherever_they_stand(engine: Engine) -> None:
    chat = ({"role": EVIL, "content": EVIL},)
    rows = [
        PairRow(Pair(str(n), Prompt(str(n), text, EVIL, EVIL), EVIL, EVIL + "2"), source=EVIL, references=(EVIL,))
        for n, text in enumerate((EVIL, chat))
    ]
    add_pairs(engine, rows, gold=False)
    client, home = client_of(engine), f"/r/{invite(engine, EVIL, 'expert')}/"
    for _ in range(2):
        body = client.get(home).text
        assert html.escape(EVIL).replace("&#x27;", "&#39;").replace("&quot;", "&#34;") in body
        assert "<script>" not in body
        assert "<img" not in body
        assert "49" not in re.sub(r"[\w-]{12,}", "", body), "a text is no template"
        client.post(home + "judge", data=form_of(body, why=EVIL))
    client.post(home + "undo", data=undo_of(client.get(home).text))
    body = client.get(home).text
    assert "</textarea><script>" not in body
    assert "<img" not in body


def test_a_weak_rater_is_never_sent_what_experts_see(collection) -> None:
    engine, secrets = collection(4, "ann", "expert eve", gold=4)
    client, everything = client_of(engine, Terms(labels_per_pair=2, gold_rate=0.5)), []

    def ask(method: str, path: str, **options) -> str:
        reply = client.request(method, path, **options)
        everything.append(f"{reply.headers} {reply.text}")
        return reply.text

    home = f"/r/{secrets['ann']}/"
    ask("POST", home + "judge", data={"choice": "first"})
    while 'id="judge"' in (body := ask("GET", home)):
        ask("POST", home + "judge", data=form_of(body))
        if len(everything) == 4:
            ask("POST", home + "undo", data=undo_of(ask("GET", home)))
    assert "Nothing left to judge" in everything[-1]
    assert sum(row.judged + row.gold_answered for row in standings(engine)) >= 4
    sent = "".join(everything)
    for hidden in (*HIDDEN, "pair/", "gold/", "group-", 'answer":', "expert"):
        assert hidden not in sent
    seen = client.get(f"/r/{secrets['expert eve']}/").text
    assert all(hidden in seen for hidden in HIDDEN)


def test_wrong_links_and_the_keys_of_others_are_answered_alike(collection) -> None:
    engine, secrets = collection(4, "ann", "ben")
    client = client_of(engine)
    form = form_of(client.get(f"/r/{secrets['ann']}/").text)
    wrong = client.get("/r/wrong/")
    assert wrong.status_code == 404
    for method, path in (
        ("POST", f"/r/{secrets['ben']}/judge"),
        ("POST", f"/r/{secrets['ben']}/skip"),
        ("POST", f"/r/{secrets['ben']}/undo"),
        ("POST", "/r/wrong/judge"),
        ("GET", "/r/%00/"),
        ("GET", f"/r/{secrets['ann'][:-1]}/"),
    ):
        reply = client.request(method, path, data=form if method == "POST" else None)
        assert (reply.status_code, re.findall("<main.*</main>", reply.text, re.S)) == (
            404,
            re.findall("<main.*</main>", wrong.text, re.S),
        )
    assert form_of(client.get(f"/r/{secrets['ann']}/").text) == form
    assert "1 judged" not in client.get(f"/r/{secrets['ben']}/").text
    assert client.get(f"/r/{secrets['ann']}/judge").status_code == 405


def test_a_secret_is_kept_as_its_hash_and_a_newer_link_ends_the_older(collection, database: str) -> None:
    engine, secrets = collection(4, "ann")
    client, old = client_of(engine), secrets["ann"]
    client.post(f"/r/{old}/judge", data=form_of(client.get(f"/r/{old}/").text))
    new = invite(engine, "ann", "weak")
    assert client.get(f"/r/{old}/").status_code == 404
    assert "1 judged by you" in client.get(f"/r/{new}/").text
    with pytest.raises(ValueError, match="'ann' is weak already"):
        invite(engine, "ann", "expert")
    if "://" not in database:
        stored = b"".join(file.read_bytes() for file in Path(database).parent.glob("raters.sqlite*"))
        assert not [secret for secret in (old, new) if secret.encode() in stored]
        assert b"ann" in stored


@pytest.mark.parametrize(
    ("change", "status", "says"),
    [
        ({"choice": "a"}, 400, "Choose one of the answers"),
        ({"confidence": "1.0"}, 400, "how sure"),
        ({"attempt": "-1"}, 400, "which try"),
        ({"attempt": "１"}, 400, "which try"),
        ({"why": "x" * (LONGEST_WHY + 1)}, 413, "too long"),
        ({"why": "x" * MOST_BYTES}, 413, "too long"),
        ({"key": "nobodys"}, 404, "This link does not work"),
    ],
)
def test_forms_that_cannot_be_are_refused_in_words(collection, change: dict, status: int, says: str) -> None:
    engine, secrets = collection(2, "ann")
    client, home = client_of(engine), f"/r/{secrets['ann']}/"
    reply = client.post(home + "judge", data=form_of(client.get(home).text, **change))
    assert (reply.status_code, says in reply.text) == (status, True)
    assert "0 judged by you" in client.get(home).text
    assert client.post(home + "skip", content=b"\xff=1").status_code == 400


def test_every_answer_has_the_safe_headers_and_pages_need_no_exception_from_them(collection) -> None:
    engine, secrets = collection(2, "ann")
    client, home = client_of(engine), f"/r/{secrets['ann']}/"
    page = client.get(home)
    addresses = re.findall(r'(?:src|href)="\.\./\.\./(static/[^"]+)"', page.text)
    assert len(addresses) == 3
    for reply in (page, *(client.get(f"/{one}") for one in addresses), client.get("/no"), client.post(home + "judge")):
        policy = reply.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert reply.headers["referrer-policy"] == "no-referrer"
        assert reply.headers["x-content-type-options"] == "nosniff"
    assert page.headers["cache-control"] == "no-store"
    assert client.get("/static/..%2fapp.py").status_code == 404
    assert client.get("/health").text == "ok"
    sources = [file.read_text() for file in (Path(app_module.__file__).parent / "templates").iterdir()]
    for source in sources:
        assert not re.search(r"\s(style|on\w+)=|<style|javascript:|https?://|\|\s*safe", source)
        assert not re.search(r"<script(?![^>]*src=)", source)
