"""What a learner's actor hands out."""

from __future__ import annotations

import pickle

import torch
from torch import Tensor

from sandwiching.configs.schema import ResourcesConfig
from sandwiching.launch.workers import LearnerActor


class Views:
    """A role whose weights lie in one buffer, as DeepSpeed keeps those that it trains."""

    def weights(self) -> dict[str, Tensor]:
        """A hundred views."""
        return {f"{i}": part for i, part in enumerate(torch.zeros(100_000).split(1000))}


def test_weights_travel_without_the_buffer_that_they_are_views_of():
    actor = LearnerActor(ResourcesConfig(), torch.get_num_threads())
    actor.role = Views()
    assert len(pickle.dumps(actor.weights())) < 600_000
