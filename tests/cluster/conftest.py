"""One SLURM of two nodes for all tests of a session."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from slurm_here import Cluster, slurm_here
from slurm_runs import a_folder


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """See slurm_here.py."""
    with slurm_here(tmp_path_factory.mktemp("slurm")) as found:
        yield found


@pytest.fixture
def here(cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in, with a name that has to be quoted; this process asks the test's cluster too."""
    monkeypatch.setenv("SLURM_CONF", str(cluster.root / "slurm.conf"))
    return a_folder(tmp_path)
