"""One row of a file as judgements, for each schema that is read. A wrong column raises ColumnError."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

from sandwiching.tasks.columns import (
    ColumnError,
    Defaults,
    Row,
    boolean,
    hash_rater,
    messages,
    number,
    optional_string,
    rater_and_tier,
    required,
    string,
    text,
)
from sandwiching.tasks.records import Judgement, Preference, Tier

_MULTIPREF_TIERS = {"normal_worker_annotations": "weak", "expert_worker_annotations": "expert"}
_MULTIPREF_PREFERENCE: dict[str, Preference] = {
    "A-is-clearly-better": "a",
    "A-is-slightly-better": "a",
    "Tie": "tie",
    "B-is-slightly-better": "b",
    "B-is-clearly-better": "b",
}
_MULTIPREF_CONFIDENCE = {"not-confident": 1 / 3, "fairly-confident": 2 / 3, "absolutely-confident": 1.0}


@dataclass(frozen=True, slots=True)
class JudgementRow:
    """A judgement, and whether its responses were finished by end-of-text (true where the file does not say)."""

    judgement: Judgement
    finished_a: bool = True
    finished_b: bool = True


def own(row: Row, defaults: Defaults) -> list[JudgementRow]:
    """This project's schema: prompt, response_a, response_b, preference, rater, tier and the optional columns."""
    preference = string(row, "preference", "add a, b or tie")
    if preference not in ("a", "b", "tie"):
        raise ColumnError("preference", f"must be a, b or tie, is {preference!r:.60}")
    rater, tier = rater_and_tier(row, defaults)
    judgement = Judgement(
        prompt=text(row, "prompt"),
        response_a=string(row, "response_a"),
        response_b=string(row, "response_b"),
        preference=cast(Preference, preference),
        rater=rater,
        tier=tier,
        confidence=number(row, "confidence", 0, 1),
        seconds=number(row, "seconds", 0),
        group=optional_string(row, "group"),
        pair=optional_string(row, "pair"),
        score_a=number(row, "score_a"),
        score_b=number(row, "score_b"),
        shown=optional_string(row, "shown"),
        assistance=optional_string(row, "assistance"),
    )
    return [JudgementRow(judgement, boolean(row, "finished_a"), boolean(row, "finished_b"))]


def trl(row: Row, defaults: Defaults) -> list[JudgementRow]:
    """TRL's prompt, chosen, rejected: strings or messages. The chosen response becomes response_a.

    A conversation without a prompt column is split at the last message, as TRL does.
    """
    chosen, rejected = required(row, "chosen"), required(row, "rejected")
    if row.get("prompt") is not None:
        prompt, before = text(row, "prompt"), 0
    elif isinstance(chosen, list) and isinstance(rejected, list) and chosen and chosen[:-1] == rejected[:-1]:
        prompt, before = messages(chosen[:-1], "chosen"), len(chosen) - 1
    else:
        raise ColumnError(
            "prompt", "missing; add it, or give chosen and rejected as messages that differ in the last one"
        )
    rater, tier = rater_and_tier(row, defaults)
    return [
        JudgementRow(
            Judgement(
                prompt=prompt,
                response_a=_reply(chosen, "chosen", before),
                response_b=_reply(rejected, "rejected", before),
                preference="a",
                rater=rater,
                tier=tier,
                group=optional_string(row, "group"),
                pair=optional_string(row, "pair"),
                score_a=number(row, "score_chosen"),
                score_b=number(row, "score_rejected"),
            )
        )
    ]


def _reply(value: Any, column: str, before: int) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, list) and len(value) == before + 1:
        return messages(value[before:], column)[0]["content"]
    raise ColumnError(column, f"must be a string or one assistant message after the prompt, is {value!r:.60}")


def summarize_from_feedback(row: Row, defaults: Defaults) -> list[JudgementRow]:
    """OpenAI's comparisons of summaries (Stiennon et al., arXiv 2009.01325).

    extra.confidence runs from 1 (surely the first) to 9 (surely the second); its distance from 5, over 4, is kept.
    """
    info, summaries, choice = required(row, "info"), required(row, "summaries"), required(row, "choice")
    if not isinstance(info, dict):
        raise ColumnError("info", f"must be an object, is {info!r:.60}")
    if not isinstance(summaries, list) or len(summaries) != 2 or not all(isinstance(s, dict) for s in summaries):
        raise ColumnError("summaries", "must be two objects with a text each")
    if isinstance(choice, bool) or choice not in (0, 1):
        raise ColumnError("choice", f"must be 0 or 1, is {choice!r:.60}")
    rater, tier = rater_and_tier(row, defaults, "worker")
    strength = number(row.get("extra") or {}, "confidence", 1, 9)
    source = optional_string(info, "id")
    return [
        JudgementRow(
            Judgement(
                prompt=_post(info),
                response_a=string(summaries[0], "text").strip(),
                response_b=string(summaries[1], "text").strip(),
                preference="a" if choice == 0 else "b",
                rater=rater,
                tier=tier,
                confidence=None if strength is None else abs(strength - 5) / 4,
                group=source,
            )
        )
    ]


def _post(info: Row) -> str:
    """The prompt of the paper's appendix B for a post, and the same without subreddit for a news article."""
    if info.get("post") is not None:
        head = f"SUBREDDIT: r/{info.get('subreddit') or ''}\n\nTITLE: {info.get('title') or ''}\n\n"
        return f"{head}POST: {string(info, 'post').strip()}\n\nTL;DR:"
    article = string(info, "article", "info needs a post or an article").strip()
    return f"TITLE: {info.get('title') or ''}\n\nARTICLE: {article}\n\nTL;DR:"


def multipref(row: Row, defaults: Defaults) -> list[JudgementRow]:
    """MultiPref (allenai/multipref): one row holds several normal (weak) and expert annotations."""
    rows = []
    for column, tier in _MULTIPREF_TIERS.items():
        annotations = row.get(column) or []
        if not isinstance(annotations, list) or not all(isinstance(one, dict) for one in annotations):
            raise ColumnError(column, "must be a list of objects")
        for annotation in annotations:
            preference = string(annotation, "overall_pref")
            if preference not in _MULTIPREF_PREFERENCE:
                raise ColumnError(
                    f"{column}.overall_pref", f"must be one of {[*_MULTIPREF_PREFERENCE]}, is {preference!r:.60}"
                )
            who = string(annotation, "evaluator")
            judgement = Judgement(
                prompt=text(row, "text"),
                response_a=string(row, "completion_a"),
                response_b=string(row, "completion_b"),
                preference=_MULTIPREF_PREFERENCE[preference],
                # The two tiers number their evaluators on their own.
                rater=hash_rater(f"{tier} {who}"),
                tier=cast(Tier, tier),
                confidence=_MULTIPREF_CONFIDENCE.get(str(annotation.get("overall_confidence"))),
                seconds=number(annotation, "time_spent", 0),
                group=optional_string(row, "prompt_id"),
                pair=optional_string(row, "comparison_id"),
            )
            rows.append(JudgementRow(judgement))
    if not rows:
        raise ColumnError(
            "normal_worker_annotations", "no annotation in this row, and none in expert_worker_annotations"
        )
    return rows


SCHEMAS: dict[str, Callable[[Row, Defaults], list[JudgementRow]]] = {
    "judgements": own,
    "trl": trl,
    "summarize_from_feedback": summarize_from_feedback,
    "multipref": multipref,
}
