"""One SLURM of two nodes for all tests of a session."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from slurm_here import Cluster, slurm_here


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """See slurm_here.py."""
    with slurm_here(tmp_path_factory.mktemp("slurm")) as found:
        yield found
