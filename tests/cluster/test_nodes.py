"""A run on two nodes of a real SLURM, preempted in PPO. A file of its own, and the first, since it takes minutes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from slurm_runs import (
    ENDED,
    MINUTES,
    SMALL,
    TWO_NODES,
    a_folder,
    assert_done,
    at_step,
    left_in_tmp,
    log_of,
    submitted,
    weights,
    without_ppo,
)

from sandwiching.launch.attempts import read_attempts

pytestmark = pytest.mark.cluster


def test_two_nodes_preempted_in_ppo_end_with_the_weights_of_an_undisturbed_run(
    cluster: Any, here: Path, tmp_path: Path
) -> None:
    before = left_in_tmp()
    job = submitted(cluster, here, *SMALL, *TWO_NODES)
    second = cluster.sandwich("submit", "slurm", "tiny", folder=here)
    assert second.returncode == 2
    assert f"has a job already: SLURM job {job}" in second.stderr
    at_step(cluster, here, 2)
    assert cluster.wait(cluster.preempt(1), ENDED, 2 * MINUTES) == "COMPLETED"
    assert_done(cluster, here, job)
    for words in ("Ray: 2 of 2 nodes", "SIGUSR1 from SLURM", "queued again", "start 2"):
        assert words in log_of(here)
    assert [attempt.exit_code for attempt in read_attempts(here / "runs/tiny")] == [75, 0]
    assert left_in_tmp() <= before
    assert f"SLURM job {job}: COMPLETED" in cluster.sandwich("status", "tiny", folder=here).stdout

    right = a_folder(tmp_path / "right")
    without_ppo(here / "runs/store", right)
    one_node = ("resources.nodes=1", "resources.cpus=2")
    cluster.sandwich("run", "tiny", *SMALL, *TWO_NODES, *one_node, "--only", "ppo", folder=right, timeout=8 * MINUTES)
    assert weights(here) == weights(right)
