"""Curves from metrics.jsonl, placed by updates done."""

import json

import pytest

from sandwiching.oversight.curves import GoldPoint, curve


def write(path, records):
    path.mkdir(parents=True, exist_ok=True)
    (path / "metrics.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))


def test_record_n_is_the_policy_before_update_n(tmp_path):
    write(tmp_path, [{"step": n, "ppo/score": n / 10, "ppo/kl": n - 1.0} for n in (1, 2, 3)])
    found = curve("weak", 0, tmp_path, [GoldPoint(0, 0.1, 0.2)])
    assert found.updates == [0, 1, 2]
    assert found.kl == [0.0, 1.0, 2.0]
    assert found.reward == [0.1, 0.2, 0.3]


def test_metrics_without_kl_are_an_error(tmp_path):
    write(tmp_path, [{"step": 1, "ppo/score": 0.0, "ppo/kl": 0.0}, {"step": 2, "ppo/score": 0.0}])
    with pytest.raises(ValueError, match=r"steps \[2\]"):
        curve("weak", 0, tmp_path, [])
    with pytest.raises(ValueError, match="no ppo/score"):
        curve("weak", 0, tmp_path / "absent", [])
