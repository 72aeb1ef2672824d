"""From one checked Config to another: as an arm sees it, and with some settings changed."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from sandwiching.configs.errors import ConfigError
from sandwiching.configs.keys import check_keys
from sandwiching.configs.layers import Layer, Raw, merged
from sandwiching.configs.schema import Config
from sandwiching.configs.structure import plain, structured
from sandwiching.configs.validate import problems


def arm_config(config: Config, name: str) -> Config:
    """A copy of the config as the arm sees it.

    Raises ConfigError when the arm is unknown or an override does not fit.
    """
    if name not in config.arms:
        raise ConfigError.at(f"arms.{name}", "no such arm", f"the arms are {', '.join(config.arms)}")
    return _arm(config, name, f"arms.{name}")


def all_problems(config: Config, source: str) -> list[str]:
    """What is wrong with the run, else with its arms, a line each. Raises ConfigError for an override that misfits."""
    found = problems(config)
    if not found:
        for name in config.arms:
            found += [f"arms.{name}: {problem}" for problem in problems(_arm(config, name, f"{source}: arms.{name}"))]
    return found


def with_settings(config: Config, settings: Mapping[str, Any], source: str) -> Config:
    """The checked config with other values at dotted keys, as `arms.weak.ppo.kl.coefficient`, and without a sweep.

    Raises ConfigError naming `source` for an unknown key, and a value that does not fit.
    """
    nested: Raw = {}
    for key, value in settings.items():
        above: Raw = {}
        place = above
        *outer, last = key.split(".")
        for part in outer:
            place[part] = {}
            place = place[part]
        place[last] = value
        nested = merged(nested, above)
    layer, task = Layer(source, nested), type(config.task)
    check_keys(layer, task)
    changed = structured({**merged(plain(config), nested), "sweep": None}, task, [layer])
    found = all_problems(changed, source)
    if found:
        raise ConfigError("\n".join(f"{source}: {problem}" for problem in found))
    return changed


def _arm(config: Config, name: str, source: str) -> Config:
    if not config.arms[name].overrides:
        return copy.deepcopy(config)
    layer = Layer(source, config.arms[name].overrides)
    task = type(config.task)
    check_keys(layer, task)
    # Arms do not change; to build all of them anew for each would take minutes where there are dozens.
    seen = structured({**merged(plain(config), layer.settings), "arms": {}}, task, [layer])
    seen.arms = copy.deepcopy(config.arms)
    return seen
