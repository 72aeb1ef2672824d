"""The sections of one run's page, in reading order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from sandwiching.oversight.report import tables
from sandwiching.oversight.report.figures import inline_svg
from sandwiching.oversight.report.gather import Gathered
from sandwiching.oversight.report.panels import sandwich_panels

Table = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Figure:
    """An <svg> element, and what its lines are."""

    svg: Markup
    caption: str = ""


@dataclass(frozen=True, slots=True)
class Section:
    """One part of a run. panels: whether figures stand side by side where there is room; more: tables that are folded;
    samples: as in samples.py; source: a text of ours in a fixed-width font, folded."""

    name: str
    title: str
    about: str
    figures: Sequence[Figure] = ()
    panels: bool = False
    tables: Sequence[Table] = ()
    more: Sequence[Table] = ()
    texts: Sequence[str] = ()
    samples: Sequence[Mapping[str, Any]] = ()
    source: str | None = None


@dataclass(frozen=True, slots=True)
class RunPage:
    """One run on the page: what comes first, and its sections. claim: its look, caveat and conditions."""

    run: str
    anchor: str
    invalid: bool
    headline: Sequence[str]
    claim: str
    not_tested: str
    facts: Sequence[str]
    sections: Sequence[Section]


def run_page(found: Gathered, record: Mapping[str, Any], anchor: str) -> RunPage:
    """Everything of a run."""
    facts = [
        f"split {record['split']}",
        f"seeds {', '.join(map(str, record['seeds'])) or '-'}",
        f"arms {', '.join(record['arms']) or '-'}",
        f"commit {(record['commit'] or 'not known')[:12]}",
    ]
    if record["confidence"] is not None:
        facts.insert(0, f"{100 * record['confidence']:g} % intervals")
    lines = [line for line in record["headline"].split("\n") if line]
    sections = list(_sections(_Made(found, record, anchor)))
    said = [(record["looks"] or {}).get("sentence"), record["caveat"], (record["conditions"] or {}).get("sentence")]
    claim = " ".join(one for one in said if one) or lines[0]
    return RunPage(found.run, anchor, record["invalid"], lines, claim, record["not_tested"], facts, sections)


@dataclass(frozen=True, slots=True)
class _Made:
    """What sections are made of."""

    found: Gathered
    record: Mapping[str, Any]
    anchor: str

    def figures(self, topic: str) -> list[Figure]:
        if topic not in self.found.figures:
            return []
        svg, label = self.found.figures[topic]
        return [Figure(inline_svg(svg, f"{self.anchor}-{topic}", label))]

    def tables(self, topic: str) -> list[Table]:
        return [one for one in self.found.tables if one["topic"] == topic and "rows" in one]

    def texts(self, topic: str) -> list[str]:
        """But for what the headline says already."""
        said = [one["text"] for one in self.found.tables if one["topic"] == topic and one.get("text")]
        return [text for text in said if text.split("\n")[0] not in self.record["headline"]]


def _sections(made: _Made) -> Iterator[Section]:
    record = made.record
    if record["rows"]:
        yield _sandwich(made)
        yield from _progress(made)
    if record["agreement"] is not None:
        yield _agreement(made)
    yield from _along(made)
    if record["samples"]:
        yield Section("samples", "Samples", ABOUT["samples"], samples=record["samples"])
    kinds = [tables.judgements_table(record), tables.gates_table(record), tables.reward_models_table(record)]
    if shown := [one for one in kinds if one["rows"]]:
        yield Section("labels", "Labels and reward models", ABOUT["labels"], tables=shown[:2], more=shown[2:])
    if record["conditions"] is not None:
        said = f"{ABOUT['conditions']} {record['conditions']['sentence']}"
        yield Section("conditions", "Stability conditions", said, tables=[tables.conditions_table(record)])
    if record["looks"] is not None:
        yield Section("looks", "Looks at the experts", ABOUT["looks"], tables=[tables.looks_table(record)])
    if record["monitors"] is not None:
        shown, figures = [tables.last_second(one) for one in made.tables("monitors")], made.figures("monitors")
        texts = made.texts("monitors")
        yield Section("monitors", "Monitors", ABOUT["monitors"], figures, tables=shown[:1], more=shown[1:], texts=texts)
    yield Section("lineage", "Lineage", ABOUT["lineage"], tables=[tables.lineage_table(record)])
    if record["config"] is not None:
        yield Section("config", "Config", "The resolved config of the run.", source=record["config"])


def _sandwich(made: _Made) -> Section:
    figures = [
        Figure(inline_svg(one.svg, f"{made.anchor}-sandwich{place}", one.title), one.caption)
        for place, one in enumerate(sandwich_panels(made.record))
    ]
    first, *more = made.tables("sandwich") or [tables.gain_table(made.record)]
    texts = made.texts("sandwich")
    return Section("sandwich", "The sandwich", ABOUT["sandwich"], figures, True, [first], more, texts)


def _progress(made: _Made) -> Iterator[Section]:
    record = made.record
    if record["pgr"]:
        pgr = [tables.pgr_table(record)]
        yield Section("pgr", "Three PGRs", ABOUT["pgr"], tables=pgr, more=made.tables("recovery"))
    else:
        yield Section("pgr", "Three PGRs", ABOUT["pgr"], tables=made.tables("recovery"), texts=[NO_PGR])
    if record["gain"]:
        yield Section("gain", "Gain over the floor", ABOUT["gain"], tables=[tables.gain_table(record)])
    fooling = made.tables("fooling")
    shown, more = fooling[:1], [*fooling[1:], *tables.transition_tables(record)]
    yield Section("fooling", "Fooling", ABOUT["fooling"], tables=shown, more=more, texts=made.texts("fooling"))


def _agreement(made: _Made) -> Section:
    gap = [tables.weak_agreement_table(made.record)] if made.record["weak_gap"] is not None else []
    shown = [*made.tables("sandwich"), *gap]
    return Section("agreement", "Agreement with experts", ABOUT["agreement"], made.figures("agreement"), tables=shown)


def _along(made: _Made) -> Iterator[Section]:
    if made.record["fits"] or "optimisation" in made.found.figures:
        shown, texts = made.tables("optimisation"), made.texts("optimisation")
        figures = made.figures("optimisation")
        yield Section("optimisation", "Over-optimisation", ABOUT["optimisation"], figures, tables=shown, texts=texts)
    if "curves" in made.found.figures:
        yield Section("curves", "Along training", ABOUT["curves"], made.figures("curves"))


NO_PGR = "There is no PGR: it takes an arm and a ceiling, the arm that check.ceiling names."
ABOUT = {
    "sandwich": (
        "On held-out prompts: raters who labelled nothing in training below (the rater line), the arm trained on "
        "expert judgements above (the ceiling), policies between. Best of n: the floor's samples, chosen by an arm's "
        "reward models."
    ),
    "pgr": (
        "PGR = (arm - rater line) / (ceiling - rater line): is it above its raters? With numerator and denominator. "
        "The limits are Fieller sets: undefined where the data do not tell the ceiling from the raters. Negatives are "
        "not clipped."
    ),
    "gain": "Progress over the SFT policy, paired by prompt and training seed; never called PGR.",
    "fooling": (
        "The change of P(weak raters approve | wrong) from the floor, on prompts where both policies are wrong. The "
        "null arm is the same training on raters of equal accuracy without the bias, at matched KL. What it is made "
        "of, whom it fools and what moved in the wording is folded below."
    ),
    "agreement": (
        "Held-out pairs that experts judged: how often each reward model prefers what the experts do, and what it has "
        "to beat. Of a tie half counts."
    ),
    "optimisation": (
        "Gain over the floor against d = sqrt(KL) to it, along PPO on dev prompts and for best-of-n, with the forms of "
        "Gao et al. (arXiv 2210.10760). A peak beyond what was seen is not reached."
    ),
    "curves": "By PPO updates; thin lines are seeds. Gold is asked on dev prompts.",
    "samples": (
        "Dev prompts only: the floor's answer and that of the last snapshot, first training seed; of each kind those "
        "whose approval rose most, with how many there are. Right and wrong by gold or experts; beside it the share of "
        "weak raters that prefers the answer to the floor's anchor. No item of the final split is on this page or in "
        "report.json: they stay in the expert store."
    ),
    "labels": "Who labelled for training, whether that carries a signal, and what was trained on it.",
    "conditions": "Declared before the run, compared after it.",
    "looks": "Every opening of the expert store is a line of a hash-chained ledger that all runs of a project share.",
    "monitors": (
        "What reads checkpoints in a process of its own, outside of training. One that is not told to be better than "
        "length has no signal."
    ),
    "lineage": "Every artifact that went into this page, the oldest first. SHA-256: of weights and results.",
}
