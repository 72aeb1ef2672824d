"""The reliability models by name."""

from __future__ import annotations

from collections.abc import Callable

from sandwiching.reward_model.reliability.crowd_bradley_terry import crowd_bradley_terry
from sandwiching.reward_model.reliability.dawid_skene import dawid_skene
from sandwiching.reward_model.reliability.majority import majority
from sandwiching.reward_model.reliability.one_coin import one_coin
from sandwiching.reward_model.reliability.records import Reliability
from sandwiching.reward_model.reliability.votes import Votes

MODELS: dict[str, Callable[[Votes], Reliability]] = {
    "majority": majority,
    "one_coin": one_coin,
    "dawid_skene": dawid_skene,
    "crowd_bradley_terry": crowd_bradley_terry,
}
"""Votes -> labels of pairs and skills of raters."""
