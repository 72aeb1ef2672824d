"""Pictures: same results, same bytes; every row is drawn."""

from xml.etree import ElementTree

import numpy as np

from sandwiching.oversight.curves import Curve, GoldPoint
from sandwiching.oversight.outcomes import outcomes
from sandwiching.oversight.plots import curves_figure, levels, mean_chance, sandwich, save
from sandwiching.oversight.summary import summarise


def test_sandwich_is_a_reproducible_svg(make_record, tmp_path):
    found = outcomes(make_record(items=40, groups=10))
    for name in ("one.svg", "two.svg"):
        save(sandwich(summarise(found, "ceiling", 0.95).rows, mean_chance(found), "note"), tmp_path / name)
    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "two.svg").read_bytes()
    root = ElementTree.parse(tmp_path / "one.svg").getroot()
    assert root.attrib["width"] == "504pt"


def test_sandwich_names_rows_and_the_rater_line(make_record):
    found = outcomes(make_record(items=40, groups=10))
    forced, free, approval = sandwich(summarise(found, "ceiling", 0.95).rows, mean_chance(found), "note").axes
    assert [text.get_text() for text in forced.get_yticklabels()] == ["floor (SFT)", "weak", "weak_reliable", "ceiling"]
    assert "chance 0.25" in forced.get_xlabel()
    assert "candidates" in free.get_xlabel()
    assert approval.get_title(loc="left") == "Approved by raters"


def test_curves_draw_seeds_and_their_mean():
    runs = [
        Curve(
            arm,
            seed,
            [0, 1, 2],
            [0.0, 0.1 + seed, 0.2],
            [0.0, 0.5, 1.0],
            [GoldPoint(0, 0.3, 0.5), GoldPoint(2, 0.4, 0.6)],
        )
        for arm in ("weak", "ceiling")
        for seed in (0, 2)
    ]
    reward, _, forced, _ = curves_figure(runs).axes
    assert len(reward.lines) == 2 * 3
    means = [line for line in reward.lines if line.get_label() == "weak"]
    assert list(np.asarray(means[0].get_ydata())) == [0.0, 1.1, 0.2]
    assert list(np.asarray(forced.lines[2].get_xdata())) == [0, 2]


def test_levels_have_a_line_each(make_record):
    rows = summarise(outcomes(make_record()), "ceiling", 0.95).rows
    axes = levels({row.name: row.levels["forced"] for row in rows}, "Title", "note").axes[0]
    assert [text.get_text() for text in axes.get_yticklabels()] == [row.name for row in rows]
