"""Rows, headline and tables from a record with known accuracies."""

import json
import math

import numpy as np
import pytest
from rich.console import Group

from sandwiching.oversight.intervals import Interval, RatioSet
from sandwiching.oversight.outcomes import outcomes
from sandwiching.oversight.summary import flat_metrics, jsonable, ratio, signed, summarise, verdict
from sandwiching.oversight.table import plain_text, render


def printed(summary):
    return plain_text(Group(*render(summary, summary.headline)))


def row(summary, name):
    return next(one for one in summary.rows if one.name == name)


def test_gain_is_the_paired_difference_by_item_and_seed(make_record):
    found = outcomes(make_record(seeds=(0, 1)))
    summary = summarise(found, "ceiling", 0.95)
    difference = found.policies["weak"]["free"] - found.policies["floor"]["free"]
    assert row(summary, "weak").gains["free"].estimate == pytest.approx(difference.mean())
    assert row(summary, "weak").gains["free"].seeds == 2
    assert row(summary, "floor").gains == {}


def test_pgr_stands_beside_its_numerator_and_denominator(make_record):
    found = outcomes(make_record())
    summary = summarise(found, "ceiling", 0.95)
    line = found.line["forced"].mean()
    weak, ceiling = (found.policies[name]["forced"].mean() for name in ("weak", "ceiling"))
    recovered = row(summary, "weak").recovered["forced"]
    assert recovered.ratio.estimate == pytest.approx((weak - line) / (ceiling - line))
    assert recovered.numerator.estimate == pytest.approx(weak - line)
    assert recovered.denominator.estimate == pytest.approx(ceiling - line)
    assert row(summary, "ceiling").recovered == {}
    assert row(summary, "floor").recovered == {}


def test_without_a_ceiling_there_is_no_pgr(make_record):
    summary = summarise(outcomes(make_record()), None, 0.95)
    assert all(not one.recovered for one in summary.rows)
    assert row(summary, "ceiling").role == "arm"


def test_pgr_is_undefined_when_the_ceiling_is_not_above_the_raters(make_record):
    record = make_record(accuracy={"floor": 0.5, "weak": 0.5, "ceiling": 0.5}, raters=0.5)
    summary = summarise(outcomes(record), "ceiling", 0.95)
    recovered = row(summary, "weak").recovered["forced"]
    assert recovered.denominator.low < 0 < recovered.denominator.high
    assert recovered.ratio.kind != "bounded"
    assert ratio(recovered.ratio).startswith("undefined")
    assert "check/weak/pgr_forced" not in flat_metrics(summary)


@pytest.mark.parametrize(
    ("raters", "start"), [(0.2, "weak: above its raters"), (0.95, "weak: below its raters"), (0.65, "weak: not shown")]
)
def test_headline_first_says_whether_the_policy_is_above_its_raters(make_record, raters, start):
    summary = summarise(outcomes(make_record(raters=raters)), "ceiling", 0.95)
    assert summary.headline.startswith(start)
    assert summary.headline.count("\n") == 1


def test_splits_are_the_same_rows_on_fewer_items(make_record):
    found = outcomes(make_record())
    summary = summarise(found, "ceiling", 0.95)
    cell = summary.cells["both know"]
    mask = np.array([label == "both know" for label in found.cells])
    assert cell[2].levels["forced"].estimate == pytest.approx(found.policies["weak"]["forced"][:, mask].mean())
    assert cell[0].levels["forced"].items == mask.sum()
    assert sum(rows[0].levels["forced"].items for rows in summary.kinds.values()) == len(found.groups)


def test_a_cell_of_one_group_has_no_interval_but_a_level(make_record):
    record = make_record(items=40, groups=10)
    record["items"][3]["cell"] = "alone"
    summary = summarise(outcomes(record), "ceiling", 0.95)
    assert math.isinf(summary.cells["alone"][1].levels["free"].low)
    assert "[one group]" in printed(summary)


def test_the_table_shows_every_row_and_what_intervals_cover(make_record):
    one = printed(summarise(outcomes(make_record()), "ceiling", 0.95))
    for text in ("rater line", "weak_reliable", "PGR", "both know", "currency", "prompts, not training runs"):
        assert text in one
    five = printed(summarise(outcomes(make_record(seeds=range(5))), "ceiling", 0.95))
    assert "covers prompts and training runs." in five


def test_arms_stand_against_the_first_one(make_record):
    found = outcomes(make_record(seeds=range(5)))
    summary = summarise(found, "ceiling", 0.95)
    first, *others = (name for name in found.policies if name != "floor")
    assert list(summary.between) == others
    difference = found.policies["ceiling"]["free"] - found.policies[first]["free"]
    assert summary.between["ceiling"]["free"].estimate == pytest.approx(difference.mean())
    assert f"Arms minus {first}" in printed(summary)


def test_one_arm_stands_against_none(make_record):
    record = make_record()
    record["arms"] = ["weak"]
    summary = summarise(outcomes(record), None, 0.95)
    assert summary.between == {}
    assert "Arms minus" not in printed(summary)


def test_results_are_json_without_infinities(make_record):
    assert json.dumps(jsonable({"low": -math.inf, "rows": (1.5, math.nan)}), allow_nan=False) == (
        '{"low": null, "rows": [1.5, null]}'
    )
    metrics = flat_metrics(summarise(outcomes(make_record()), "ceiling", 0.95))
    assert all(math.isfinite(value) for value in metrics.values())
    assert {"check/raters/forced", "check/floor/free", "check/weak/gain_forced", "check/weak/pgr_free"} <= set(metrics)


def test_formats():
    assert signed(Interval(-0.001, -0.1, 0.1, 3, 9, 4, 1)) == "+0.00 [-0.10, 0.10]"
    assert ratio(RatioSet(-0.5, "bounded", -0.9, -0.1)) == "-0.50 [-0.90, -0.10]"
    assert ratio(RatioSet(9.0, "complement", -2.0, 1.0)) == "undefined (not -2.00 to 1.00)"
    assert verdict(Interval(0.1, 0.0, 0.2, 3, 9, 4, 1)) == "not shown to be above"
