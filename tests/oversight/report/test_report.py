"""report.json and the page of a finished run: what is on them, what is never, and what is refused."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from sandwiching.oversight.report.build import reported
from sandwiching.oversight.report.figures import inline_svg
from sandwiching.oversight.report.gather import Sources, gather
from sandwiching.oversight.report.page import html
from sandwiching.oversight.report.record import ratio_set
from sandwiching.oversight.report.sections import RunPage, Section
from sandwiching.oversight.report.tables import table
from sandwiching.oversight.report.visible import visible
from sandwiching.oversight.summary import ratio

FIXED = {"headline", "conditions", "pgr", "gain", "fooling", "looks", "curves", "lineage"}
EVIL = "</div><script>alert(1)</script><img src=x onerror=alert(1)>\"'&{{ 7 * 7 }}{% raw %}"
VOID = {"meta", "link", "br", "img", "hr", "input", "path", "use", "rect"}


def of(run: Path, **changed: Any) -> Sources:
    check = (run / "artifacts" / "check").resolve()
    fields = {"run": run.name, "check": check, "monitor": None, "store": run.parent / "experts", **changed}
    return Sources(**fields)


def report_of(run: Path, **changed: Any) -> tuple[dict[str, Any], str]:
    return reported([gather(of(run, **changed))])


@pytest.fixture(scope="module")
def made(runs: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], str, Path]:
    run = runs.finished_run(tmp_path_factory.mktemp("project"))
    return *report_of(run), run


class Page(HTMLParser):
    """Tags, attributes and ids of a page, and its text by the id of its section."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    def all(self, name: str) -> list[str]:
        return [value for _, attributes in self.tags if (value := attributes.get(name)) is not None]

    @property
    def text(self) -> str:
        return "".join(self.words)


def test_the_record_has_the_fixed_keys_and_is_plain_json(made: tuple[dict[str, Any], str, Path]) -> None:
    record = made[0]
    assert record.keys() >= FIXED
    assert json.loads(json.dumps(record, allow_nan=False)) == record
    assert record["looks"]["now"] == {"store": str(made[2].parent / "experts"), "length": 1, "left": 19}
    assert {one["stage"] for one in record["lineage"]} == {"check", "judgements", "reward_model"}
    assert {one["of"] for one in record["pgr"]} == {"label", "reward model", "policy"}


def test_the_page_says_headline_and_conditions_first_and_sections_in_order(
    made: tuple[dict[str, Any], str, Path],
) -> None:
    page = Page(made[1])
    names = [value.removeprefix("r0-") for tag, one in page.tags if tag == "section" and (value := one.get("id"))]
    order = "sandwich pgr gain fooling optimisation samples labels conditions looks lineage"
    assert names == order.split()
    text = page.text
    places = [text.index(said) for said in ("Look 1 of 20.", "biased: ", "Conditions: held: looks", "Not tested here:")]
    assert places == sorted(places)
    assert places[-1] < text.index("The sandwich")
    assert "capability. Training ran with 2 seeds." in text


def test_no_item_of_the_final_split_leaves(made: tuple[dict[str, Any], str, Path], runs: Any) -> None:
    record, page, _ = made
    assert "Dev prompt 0?" in page
    assert runs.SECRET not in page
    assert runs.SECRET not in json.dumps(record)
    assert "No item of the final split is on this page" in page


def test_nothing_outside_is_asked_for(made: tuple[dict[str, Any], str, Path]) -> None:
    page = Page(made[1])
    assert not {tag for tag, _ in page.tags} & {"script", "iframe", "object", "embed", "img", "form", "base"}
    assert all(value.startswith(("#", "data:,")) for value in [*page.all("href"), *page.all("xlink:href")])
    assert not page.all("src")
    policy = next(one["content"] for tag, one in page.tags if one.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    assert policy.startswith("default-src 'none'; style-src 'unsafe-inline'")
    assert "@import" not in made[1]
    assert not re.search(r"url\((?!#)", made[1])


def test_ids_do_not_collide_and_every_reference_is_there(made: tuple[dict[str, Any], str, Path]) -> None:
    page = Page(made[1])
    ids = page.all("id")
    assert len(ids) == len(set(ids))
    targets = [value[1:] for value in [*page.all("href"), *page.all("xlink:href")] if value.startswith("#")]
    assert set(targets) <= set(ids)
    assert {value for value in re.findall(r"url\(#([^)]*)\)", made[1])} <= set(ids)


def test_hostile_text_is_text_in_every_field() -> None:
    odd = {
        "arm": EVIL,
        "kind": EVIL,
        "count": 1,
        "shown": [
            {
                **{"prompt": EVIL, "floor": EVIL, "answer": EVIL + "\u202eRTL"},
                **{"floor_right": True, "right": False, "floor_approved": 0.5, "approved": 0.5},
            }
        ],
    }
    cells = table(EVIL, (EVIL, EVIL), [[EVIL, f"{EVIL}\n{EVIL}"]])
    section = Section("x", EVIL, EVIL, tables=[cells], more=[cells], texts=[EVIL], samples=[odd], source=EVIL)
    run = RunPage(EVIL, "r0", True, [EVIL], EVIL, EVIL, [EVIL], [section])
    text = html([run], [{}], EVIL, [EVIL])
    page = Page(text)
    assert not {tag for tag, _ in page.tags} & {"script", "img"}
    assert page.text.count(EVIL) == 31
    assert "\u202e" not in text
    assert "⟨U+202E⟩RTL" in text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\tb\nc", "a\tb\nc"),
        ("a\r\nb", "a\nb"),
        ("\x00\x1b[31m", "⟨U+0000⟩⟨U+001B⟩[31m"),
        ("\u202eabc\u2066", "⟨U+202E⟩abc⟨U+2066⟩"),
        ("\ud800", "⟨U+D800⟩"),
        ("שלום \U0001f469\u200d\U0001f680 é", "שלום \U0001f469\u200d\U0001f680 é"),
    ],
)
def test_what_acts_on_other_text_is_shown_by_its_number(text: str, shown: str) -> None:
    assert visible(text) == shown
    shown.encode()


def test_unbounded_fieller_sets_are_undefined_and_negatives_stay(runs: Any, tmp_path: Path) -> None:
    level = {"floor": 0.5, "biased": 0.3, "unbiased": 0.5, "ceiling": 0.46}
    record, page = report_of(runs.finished_run(tmp_path, planted=runs.Planted(right=level, raters=0.5)))
    assert any(one["said"].startswith("undefined") for one in record["pgr"] if one["of"] == "policy")
    negative = [one for one in record["pgr"] if one["numerator"]["estimate"] < -0.05]
    assert negative
    assert "undefined" in Page(page).text
    assert f"\u2212{abs(negative[0]['numerator']['estimate']):.2f}" in Page(page).text
    assert record["gain"]["biased"]["free"]["estimate"] < 0


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ({"estimate": None, "kind": "unbounded", "low": None, "high": None}, "undefined"),
        ({"estimate": 2.0, "kind": "complement", "low": -1.0, "high": 0.5}, "undefined (not -1.00 to 0.50)"),
        ({"estimate": 2.0, "kind": "complement", "low": None, "high": 0.5}, "undefined (not -inf to 0.50)"),
        ({"estimate": -0.5, "kind": "bounded", "low": -1.0, "high": -0.1}, "-0.50 [-1.00, -0.10]"),
    ],
)
def test_a_ratio_comes_back_from_json(found: dict[str, Any], said: str) -> None:
    assert ratio(ratio_set(found)) == said


def test_past_the_budget_every_section_says_invalid(runs: Any, tmp_path: Path) -> None:
    run = runs.finished_run(tmp_path, planted=runs.Planted(looks=4, budget=3))
    record, page = report_of(run)
    assert record["invalid"] is True
    assert record["headline"].startswith("INVALID: look 4 of a budget of 3.")
    sections = page.count("<section id=")
    assert page.count("INVALID: past the budget of looks.") == sections > 5
    assert "<title>demo (INVALID)</title>" in page


def test_too_few_samples_are_a_reason_and_not_nan(runs: Any, tmp_path: Path) -> None:
    record, page = report_of(runs.finished_run(tmp_path, planted=runs.Planted(groups=1, items=4, seeds=(0,))))
    text = Page(page).text
    assert "[one group]" in text
    assert "both policies are wrong on too little" in text
    assert not re.search(r"\b(nan|inf|None)\b", text)
    assert record["rows"][1]["levels"]["free"]["low"] is None


def test_a_caveat_stands_with_the_headline_before_the_conditions(runs: Any, tmp_path: Path) -> None:
    record, page = report_of(runs.finished_run(tmp_path), caveat="The expert is doubtful.")
    assert record["headline"].split("\n")[-2:] == ["The expert is doubtful.", runs.SENTENCE]
    assert page.count("The expert is doubtful.") == 1


def test_a_run_without_ceiling_has_no_pgr_and_says_what_it_takes(runs: Any, tmp_path: Path) -> None:
    right = {"floor": 0.5, "biased": 0.6}
    record, page = report_of(runs.finished_run(tmp_path, planted=runs.Planted(right=right)))
    assert record["pgr"] == []
    assert "add `ceiling: {tier: expert}` to arms" in Page(page).text
    assert "There is no PGR" in page


def test_a_missing_arm_is_named(runs: Any, tmp_path: Path) -> None:
    run = runs.finished_run(tmp_path, arms=["biased", "unbiased", "lost", "ceiling"])
    with pytest.raises(ValueError, match=r"checked arms biased, unbiased, lost, ceiling, and says nothing of lost"):
        gather(of(run))


def test_no_finding_without_its_conditions(runs: Any, tmp_path: Path) -> None:
    run = runs.finished_run(tmp_path)
    check = of(run).check
    manifest = json.loads((check / "manifest.json").read_text())
    for name in ("conditions.json", "ledger.json"):
        (check / name).unlink()
        manifest["files"].pop(name)
        (check / "manifest.json").write_text(json.dumps(manifest))
        with pytest.raises(ValueError, match="a finding is not shown without"):
            gather(of(run))


def test_another_projects_ledger_is_refused(runs: Any, tmp_path: Path) -> None:
    run = runs.finished_run(tmp_path / "one")
    other = runs.finished_run(tmp_path / "two")
    with pytest.raises(ValueError, match=r"a ledger of another project; give check\.store the folder"):
        gather(of(run, store=other.parent / "experts"))
    own = of(run).check / "ledger.json"
    said = json.loads(own.read_text())
    own.write_text(json.dumps({**said, "hash": "f" * len(said["hash"])}, indent=1))
    with pytest.raises(ValueError, match="a ledger of another project"):
        gather(of(run))


def test_a_ledger_cut_short_is_refused_and_one_that_is_elsewhere_is_said(runs: Any, tmp_path: Path) -> None:
    run = runs.finished_run(tmp_path, planted=runs.Planted(looks=2))
    record, page = report_of(run, store=tmp_path / "nowhere")
    assert record["looks"]["now"] is None
    assert "the ledger was not at hand" in page
    ledger = tmp_path / "experts" / "ledger.jsonl"
    ledger.write_text(ledger.read_text().splitlines(keepends=True)[0])
    with pytest.raises(
        ValueError, match=r"is not the ledger that the check wrote into: .* remembers 2 lines, of which 1"
    ):
        gather(of(run))


def test_several_runs_are_compared_and_each_keeps_its_headline(runs: Any, tmp_path: Path) -> None:
    both = [runs.finished_run(tmp_path, name) for name in ("one", "two")]
    record, page = reported([gather(of(run)) for run in both], ["trial 3 has no finished check"])
    assert [one["run"] for one in record["runs"]] == ["one", "two"]
    assert record["notes"] == ["trial 3 has no finished check"]
    found = Page(page)
    assert len(found.all("id")) == len(set(found.all("id")))
    claim = f"one: Look 1 of 20. {runs.SENTENCE}"
    assert found.text.index("All runs") < found.text.index(claim) < found.text.index("forced choice")
    assert found.text.index("Look 1 of 20.") < found.text.index("The sandwich")
    assert "trial 3 has no finished check" in found.text
    # The rater line, floor and three arms of both.
    assert found.text.count("2 of 20") >= 5


def test_figures_take_the_pages_colours_and_nothing_else() -> None:
    svg = (
        '<?xml version="1.0"?><!DOCTYPE svg PUBLIC "x" "http://www.w3.org/x.dtd"><svg width="10pt" height="5pt" '
        'viewBox="0 0 10 5"><metadata>http://purl.org</metadata><!-- a note --><defs><style type="text/css">*{a: b}'
        '</style><path id="m" style="fill: #0072b2; stroke: #000000"/></defs><use xlink:href="#m"/>'
        '<g clip-path="url(#c)"/><clipPath id="c"/>'
        "<text style=\"font: 8px 'DejaVu Sans', x; fill: #555555\">t</text></svg>"
    )
    text = str(inline_svg(svg, "r1-x", 'what "it" shows'))
    assert text.startswith('<svg class="r1-x" role="img" aria-label="what &#34;it&#34; shows" fill="currentColor"')
    assert 'id="r1-x-m"' in text
    assert 'href="#r1-x-m"' in text
    assert "url(#r1-x-c)" in text
    assert "fill: var(--c1); stroke: currentColor" in text
    assert "font-size: 8px; fill: var(--soft)" in text
    assert not re.search("metadata|DOCTYPE|purl|note|DejaVu|10pt|<style>\\*", text)
    with pytest.raises(ValueError, match="holds no <svg>"):
        inline_svg("<p>", "a", "curves")
