from typing import Any

import pytest

from sandwiching.tasks.columns import ColumnError, Defaults, hash_rater
from sandwiching.tasks.schemas import multipref, summarize_from_feedback, trl

WEAK = Defaults(tier="weak", rater="someone")
USER = {"role": "user", "content": "Hi"}


def assistant(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


def test_trl_strings() -> None:
    row = {"prompt": "P", "chosen": "good", "rejected": "bad", "score_chosen": 4.0}
    judgement = trl(row, WEAK)[0].judgement
    assert (judgement.prompt, judgement.response_a, judgement.response_b) == ("P", "good", "bad")
    assert (judgement.preference, judgement.score_a, judgement.rater) == ("a", 4.0, hash_rater("someone"))


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": [USER], "chosen": [assistant("good")], "rejected": [assistant("bad")]},
        {"chosen": [USER, assistant("good")], "rejected": [USER, assistant("bad")]},
    ],
)
def test_trl_messages_with_and_without_a_prompt(row: dict[str, Any]) -> None:
    judgement = trl(row, WEAK)[0].judgement
    assert (judgement.prompt, judgement.response_a, judgement.response_b) == ((USER,), "good", "bad")


@pytest.mark.parametrize(
    ("row", "defaults", "column"),
    [
        ({"chosen": "good", "rejected": "bad"}, WEAK, "prompt"),
        ({"prompt": "P", "chosen": "good"}, WEAK, "rejected"),
        ({"prompt": "P", "chosen": [USER, assistant("x")], "rejected": "bad"}, WEAK, "chosen"),
        ({"prompt": "P", "chosen": "x", "rejected": "y"}, Defaults(tier="weak"), "rater"),
        ({"prompt": "P", "chosen": "x", "rejected": "y"}, Defaults(rater="ann"), "tier"),
    ],
)
def test_trl_bad_rows(row: dict[str, Any], defaults: Defaults, column: str) -> None:
    with pytest.raises(ColumnError, match=f"^{column}: "):
        trl(row, defaults)


def comparison(**change: Any) -> dict[str, Any]:
    info = {"id": "t3_1", "post": " My post. ", "title": "Title", "subreddit": "advice"}
    summaries = [{"text": " first", "policy": "ref", "note": None}, {"text": " second", "policy": "sup", "note": None}]
    row = {"info": info, "summaries": summaries, "choice": 1, "worker": "w1", "split": "train", "batch": "batch3"}
    return {**row, "extra": {"confidence": 8}, **change}


def test_summarize_from_feedback() -> None:
    judgement = summarize_from_feedback(comparison(), Defaults(tier="weak"))[0].judgement
    assert judgement.prompt == "SUBREDDIT: r/advice\n\nTITLE: Title\n\nPOST: My post.\n\nTL;DR:"
    assert (judgement.response_a, judgement.response_b, judgement.preference) == ("first", "second", "b")
    assert (judgement.rater, judgement.confidence, judgement.group) == (hash_rater("w1"), 0.75, "t3_1")


def test_summarize_from_feedback_of_articles_and_without_confidence() -> None:
    row = comparison(info={"id": "a", "title": "T", "article": "News."}, choice=0, extra={})
    judgement = summarize_from_feedback(row, Defaults(tier="weak"))[0].judgement
    assert judgement.prompt == "TITLE: T\n\nARTICLE: News.\n\nTL;DR:"
    assert (judgement.preference, judgement.confidence) == ("a", None)


@pytest.mark.parametrize(
    ("change", "column"),
    [
        ({"choice": 2}, "choice"),
        ({"choice": True}, "choice"),
        ({"summaries": [{"text": "one"}]}, "summaries"),
        ({"summaries": [{"text": "one"}, {}]}, "text"),
        ({"info": {"id": "x"}}, "article"),
        ({"extra": {"confidence": 12}}, "confidence"),
    ],
)
def test_summarize_from_feedback_bad_rows(change: dict[str, Any], column: str) -> None:
    with pytest.raises(ColumnError, match=f"^{column}: "):
        summarize_from_feedback(comparison(**change), Defaults(tier="weak"))


def annotation(who: str, preference: str, **more: Any) -> dict[str, Any]:
    return {"evaluator": who, "overall_pref": preference, "overall_confidence": "fairly-confident", **more}


def test_multipref_has_both_tiers() -> None:
    row = {
        "comparison_id": "c1",
        "prompt_id": "p1",
        "text": "P",
        "completion_a": "x",
        "completion_b": "y",
        "normal_worker_annotations": [annotation("1", "B-is-slightly-better", time_spent=60), annotation("2", "Tie")],
        "expert_worker_annotations": [annotation("1", "A-is-clearly-better")],
    }
    found = [one.judgement for one in multipref(row, Defaults())]
    assert [(one.tier, one.preference) for one in found] == [("weak", "b"), ("weak", "tie"), ("expert", "a")]
    assert found[0].seconds == 60
    assert found[0].confidence == pytest.approx(2 / 3)
    assert len({one.rater for one in found}) == 3
    assert {one.pair for one in found} == {"c1"}
    with pytest.raises(ColumnError, match="overall_pref"):
        multipref({**row, "expert_worker_annotations": [annotation("1", "A")]}, Defaults())
    with pytest.raises(ColumnError, match="no annotation"):
        multipref({**row, "normal_worker_annotations": [], "expert_worker_annotations": None}, Defaults())
