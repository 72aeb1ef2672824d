"""The page in Debian's Chromium: two raters at once, keys and clicks, a reload, a lost server, narrow, wide, dark."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from sandwiching.tasks.readers import read_judgements

pytestmark = pytest.mark.browser

SANDWICH = str(Path(sys.executable).parent / "sandwich")
LONG = "An answer of several sentences, as models write them. " * 30
EVIL = "<img src=x onerror=\"document.title='hacked'\"><script>document.title='hacked'</script>"
WIDTHS = {"narrow": (390, 844), "wide": (1280, 800)}
PATIENCE = 120_000
"""Milliseconds that the browser waits: the machine may be busy."""


class Site:
    """`sandwich raters serve` over six pairs; stopped and started again on the same port."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.process = folder, None
        rows = [
            {"prompt": f"Question {n}? {EVIL}", "response_a": f"Short {n}. {EVIL}", "response_b": f"{LONG}{n}"}
            for n in range(6)
        ]
        secret = {"source": "The encyclopedia", "references": ["The right one"], "group": "g"}
        (folder / "pairs.jsonl").write_text("".join(json.dumps({**row, **secret}) + "\n" for row in rows))
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]

    def sandwich(self, command: str, *arguments: str) -> str:
        call = [SANDWICH, "raters", command, "pairs.jsonl", *arguments]
        return subprocess.run(call, cwd=self.folder, check=True, capture_output=True, text=True).stdout

    def invite(self, name: str, tier: str = "weak") -> str:
        url = f"http://127.0.0.1:{self.port}"
        return json.loads(self.sandwich("invite", name, "--tier", tier, "--url", url, "--json"))[name]

    def start(self) -> None:
        call = [SANDWICH, "raters", "serve", "pairs.jsonl", "--port", str(self.port)]
        self.process = subprocess.Popen(call, cwd=self.folder, stderr=subprocess.PIPE, text=True)
        assert self.process.stderr is not None
        while "serving on" not in (line := self.process.stderr.readline()):
            assert line, "the server ended"

    def stop(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(300) == 0


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path)
    site.start()
    yield site
    if site.process is not None and site.process.poll() is None:
        site.stop()


def open_page(browser: Browser, link: str, width: str = "wide", scheme: str = "light") -> tuple[Page, list[str]]:
    """A page of a browser profile of its own, and what its console and scripts complain of."""
    size = WIDTHS[width]
    context = browser.new_context(viewport={"width": size[0], "height": size[1]}, color_scheme=scheme)  # pyright: ignore
    context.set_default_timeout(PATIENCE)
    page, complaints = context.new_page(), []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.goto(link)
    return page, complaints


def judged(page: Page, count: int) -> None:
    expect(page.locator(".progress span").first).to_have_text(f"{count} judged by you", timeout=PATIENCE)


def texts(page: Page) -> list[str]:
    return page.locator(".answer .text").all_inner_texts()


def test_two_raters_at_once_by_keys_and_by_clicks(site: Site, browser: Browser) -> None:
    (ann, complaints), (ben, others) = (open_page(browser, site.invite(name)) for name in ("ann", "ben"))
    wanted = {}
    for turn in range(3):
        # Ann by keys alone, always the second; Ben by clicks, always the first, with a reason.
        wanted["ann", texts(ann)[1].strip()] = (0.75, None)
        wanted["ben", texts(ben)[0].strip()] = (0.25, f"so <b>{turn}</b>")
        ann.keyboard.press("b")
        ben.locator(".answer").first.click()
        ann.keyboard.press("3")
        ben.get_by_label("a guess").check()
        ben.get_by_label("Why?").fill(f"so <b>{turn}</b>")
        ben.get_by_role("button", name="Save").dblclick()
        ann.keyboard.press("Enter")
        judged(ann, turn + 1)
        judged(ben, turn + 1)
    assert ann.title() == ben.title() == "Which answer is better?", "no text became markup"
    assert complaints == others == []
    site.sandwich("export", "out.jsonl")
    rows = [json.loads(line) for line in (site.folder / "out.jsonl").read_text().splitlines()]
    names = {row["rater"]: row["name"] for row in json.loads(site.sandwich("progress", "--json"))}
    found = {
        (names[row["rater"]], row[f"response_{row['preference']}"].strip()): (row["confidence"], row.get("why"))
        for row in rows
    }
    assert len(rows) == 6
    assert found == wanted
    assert all(0 < row["seconds"] < 600 for row in rows)


def test_a_reload_a_lost_server_and_undo_lose_nothing(site: Site, browser: Browser) -> None:
    link = site.invite("ann")
    page, _ = open_page(browser, link)
    before = texts(page)
    page.keyboard.press("a")
    page.keyboard.press("4")
    page.keyboard.press("w")
    page.keyboard.type("because a1t")
    time.sleep(1.1)
    page.reload()
    assert texts(page) == before
    expect(page.locator("#choice-first")).to_be_checked()
    expect(page.locator("#why")).to_have_value("because a1t")
    site.stop()
    page.keyboard.press("Enter")
    expect(page.locator("#notice")).to_contain_text("the connection is lost", timeout=PATIENCE)
    site.start()
    page.keyboard.press("Enter")
    judged(page, 1)
    # From here each key is one act.
    page.keyboard.press("u")
    judged(page, 0)
    assert texts(page) == before
    expect(page.locator("#sure-certain")).to_be_checked()
    page.keyboard.press("t")
    page.keyboard.press("Enter")
    judged(page, 1)
    expect(page.locator("#undo")).to_be_visible()
    shown = texts(page)
    page.keyboard.press("s")
    expect(page.locator(".answer .text").first).not_to_have_text(shown[0], timeout=PATIENCE)
    judged(page, 1)
    site.sandwich("export", "out.jsonl")
    (row,) = read_judgements(site.folder / "out.jsonl")
    assert (row.judgement.preference, row.judgement.confidence) == ("tie", 1.0)
    (standing,) = json.loads(site.sandwich("progress", "--json"))
    assert (standing["judged"], standing["skipped"], standing["undone"]) == (1, 1, 1)


@pytest.mark.parametrize("answer", ["redirect", "page"])
def test_a_login_in_between_does_not_count_as_saved(site: Site, browser: Browser, answer: str) -> None:
    page, _ = open_page(browser, site.invite("ann"))
    before = texts(page)

    def ask_for_login(route: Route) -> None:
        if answer == "redirect":
            route.fulfill(status=302, headers={"Location": "/login"})
        else:
            route.fulfill(status=200, content_type="text/html", body="<main><p>Sign in</p></main>")

    page.route("**/judge", ask_for_login)
    page.keyboard.press("a")
    page.keyboard.press("4")
    page.keyboard.press("w")
    page.keyboard.type("because")
    page.keyboard.press("Enter")
    expect(page.locator("#notice")).to_contain_text("Not saved: you may have to sign in again", timeout=PATIENCE)
    page.unroute("**/judge")
    page.reload()
    judged(page, 0)
    assert texts(page) == before
    expect(page.locator("#why")).to_have_value("because")
    page.keyboard.press("Enter")
    judged(page, 1)


def test_time_in_sight_is_kept_over_a_reload(site: Site, browser: Browser) -> None:
    page, _ = open_page(browser, site.invite("ann"))
    time.sleep(1.5)
    page.reload()
    page.keyboard.press("a")
    page.keyboard.press("1")
    page.keyboard.press("Enter")
    judged(page, 1)
    site.sandwich("export", "out.jsonl")
    (row,) = read_judgements(site.folder / "out.jsonl")
    assert row.judgement.seconds is not None
    assert row.judgement.seconds >= 1.4


def test_an_incomplete_answer_and_a_wrong_link(site: Site, browser: Browser) -> None:
    page, _ = open_page(browser, site.invite("ann"))
    page.keyboard.press("a")
    page.keyboard.press("Enter")  # how sure is missing: the browser says so
    assert page.evaluate("document.activeElement.name") == "confidence"
    judged(page, 0)
    page.goto(f"http://127.0.0.1:{site.port}/r/wrong/")
    expect(page.get_by_role("heading")).to_have_text("This link does not work")


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize(("tier", "scheme"), [("weak", "light"), ("expert", "dark")])
def test_it_fits_and_can_be_reached_by_keyboard(
    site: Site, browser: Browser, width: str, tier: str, scheme: str
) -> None:
    page, complaints = open_page(browser, site.invite("eve", tier), width, scheme)
    assert page.evaluate("document.documentElement.scrollWidth") <= WIDTHS[width][0], "nothing sticks out"
    tops = [box["y"] for answer in page.locator(".answer").all() if (box := answer.bounding_box()) is not None]
    assert len(tops) == 2
    assert (tops[0] == tops[1]) == (width == "wide"), "side by side, or one above the other"
    expect(page.get_by_text("The right one")).to_have_count(int(tier == "expert"))
    expect(page.get_by_text("The encyclopedia")).to_have_count(int(tier == "expert"))
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (background == "rgb(245, 246, 248)") == (scheme == "light")
    reached = set()
    for _ in range(12):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.id || document.activeElement.className"))
    assert {"choice-first", "sure-guess", "why", "save", "pass"} <= reached
    folder = os.environ.get("SCREENSHOTS")
    if folder:
        page.locator("#choice-first").check()
        page.screenshot(path=f"{folder}/{tier}_{width}_{scheme}.png")
    assert complaints == []
