"""The page in Debian's Chromium: narrow and wide, light and dark; nothing leaves it, nothing in it acts."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, Request

pytestmark = pytest.mark.browser

SANDWICH = str(Path(sys.executable).parent / "sandwich")
PATIENCE = 120_000
"""Milliseconds that the browser waits: the machine may be busy."""
EVIL = (
    "<script>document.title='hacked'</script><img src=x onerror=\"document.title='hacked'\">'\"&amp; "
    "<link rel=stylesheet href=http://127.0.0.1:9/x.css> \u202egnol \u05e9\u05dc\u05d5\u05dd "
    + "W" * 10_000
    + " {{ 7 * 7 }}"
)
WIDTHS = {390: 844, 1280: 800}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page that a real run of every stage ends with."""
    folder = tmp_path_factory.mktemp("tiny")
    call = [SANDWICH, "run", "tiny", "--no-ray", "tracking.to=[]"]
    done = subprocess.run(call, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    page = folder / "runs" / "tiny" / "artifacts" / "report" / "report.html"
    assert f"report: {page}" in done.stderr + done.stdout
    return page


@pytest.fixture(scope="module")
def hostile(runs: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs on one page, whose models, and raters of one name, do their worst."""
    root = tmp_path_factory.mktemp("hostile")
    arm = "<b>bold</b>"
    right = {"floor": 0.5, arm: 0.55, "unbiased": 0.55, "ceiling": 0.75}
    planted = runs.Planted(right=right, wrong_ok={arm: 0.65}, text=EVIL, caveat=EVIL[:200])
    folders = [str(runs.finished_run(root, name, planted)) for name in ("one", "two")]
    subprocess.run([SANDWICH, "report", *folders], cwd=root, capture_output=True, text=True, check=True)
    return root / "report.html"


def opened(browser: Browser, file: Path, width: int, scheme: Any) -> tuple[Page, list[str], list[str]]:
    """The page, what its console complains of, and what it asks for besides itself."""
    context = browser.new_context(viewport={"width": width, "height": WIDTHS[width]}, color_scheme=scheme)
    context.set_default_timeout(PATIENCE)
    page = context.new_page()
    complaints, asked = list[str](), list[str]()

    def note(request: Request) -> None:
        if request.url != file.as_uri() and not request.url.startswith("data:"):
            asked.append(request.url)

    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda message: complaints.append(message.text))
    context.on("request", note)
    page.goto(file.as_uri())
    return page, complaints, asked


def contrast(page: Page, selector: str) -> float:
    """Of a text's colour with the page's background, by WCAG."""
    colours = page.evaluate(
        "selector => [document.querySelector(selector), document.body].map((one, place) => "
        "getComputedStyle(one)[place ? 'backgroundColor' : (one instanceof SVGElement ? 'fill' : 'color')])",
        selector,
    )
    values = [[int(part) / 255 for part in colour[4:-1].split(",")] for colour in colours]
    linear = [[one / 12.92 if one <= 0.04045 else ((one + 0.055) / 1.055) ** 2.4 for one in value] for value in values]
    light = sorted(0.2126 * red + 0.7152 * green + 0.0722 * blue for red, green, blue in linear)
    return (light[1] + 0.05) / (light[0] + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
def test_the_page_of_a_real_run(browser: Browser, tiny: Path, width: int, scheme: str) -> None:
    page, complaints, asked = opened(browser, tiny, width, scheme)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.locator("#r0-sandwich svg").count() == 3
    assert page.locator("#r0-samples .sample").count() > 0
    for fold in page.locator("details").all():
        fold.evaluate("one => { one.open = true }")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    for selector in (".headline p", ".about", "#r0-sandwich svg text", "td", ".limits", ".tag.wrong"):
        assert contrast(page, selector) >= 4.5, selector
    assert complaints == asked == []
    page.context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
def test_hostile_text_is_shown_as_text(browser: Browser, hostile: Path, width: int, scheme: str) -> None:
    page, complaints, asked = opened(browser, hostile, width, scheme)
    for fold in page.locator("details").all():
        fold.evaluate("one => { one.open = true }")
    assert page.title() == "2 runs"
    assert page.locator("script, img, main b, main link").count() == 0
    shown = page.locator(".sample .answer .text").first
    assert shown.inner_text() == EVIL.replace("\u202e", "\u27e8U+202E\u27e9")
    assert shown.evaluate("one => one.clientWidth >= one.scrollWidth")
    assert shown.bounding_box()["height"] < 300  # pyright: ignore[reportOptionalSubscript]
    assert "<b>bold</b>" in page.locator("table").first.inner_text()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    ids = page.evaluate("[...document.querySelectorAll('[id]')].map(one => one.id)")
    assert len(ids) == len(set(ids))
    assert complaints == asked == []
    page.context.close()
