"""Config files and command-line overrides as plain dicts, before they become dataclasses.

A run's config is a stack of layers, weakest first: what `extends` names, the file itself, `key=value` overrides.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from sandwiching.configs.errors import ConfigError

COMMAND_LINE = "command line"
Raw = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Layer:
    """Settings from one place; `source` names it in messages."""

    source: str
    settings: Raw


def shipped_configs() -> dict[str, Path]:
    """Configs inside the installed package, by bare name."""
    folder = Path(str(files("sandwiching.configs")))
    return {file.stem: file for file in sorted(folder.glob("*.yaml"))}


def find_config(path: str | Path, beside: Path | None = None) -> Path:
    """The file at `path` (relative to the folder `beside`, or to here), or the shipped config of that bare name.

    Raises ConfigError when there is neither.
    """
    path = Path(path).expanduser()
    file = path if beside is None else beside / path
    if file.is_file():
        return file
    shipped = shipped_configs()
    if len(path.parts) == 1 and path.suffix in ("", ".yaml") and path.stem in shipped:
        return shipped[path.stem]
    problem = "is a folder" if file.is_dir() else "no such file"
    raise ConfigError.at(str(file), problem, f"give a YAML file, or a shipped config: {', '.join(shipped)}")


def read_layers(file: Path, above: tuple[Path, ...] = ()) -> list[Layer]:
    """The file's layers, weakest first. Raises ConfigError for unreadable YAML and circular `extends`."""
    if file.resolve() in above:
        raise ConfigError.at(str(file), "extends itself through the files it extends", "remove one `extends`")
    settings = _read(file)
    extends = settings.pop("extends", None)
    if extends is None:
        return [Layer(str(file), settings)]
    if not isinstance(extends, str):
        raise ConfigError.at(f"{file}: extends", f"is {extends!r}", "give one path, relative to this file")
    try:
        base = find_config(extends, file.parent)
    except ConfigError as error:
        raise ConfigError.at(f"{file}: extends", f"{extends!r} is not there", f"({error})") from error
    return [*read_layers(base, (*above, file.resolve())), Layer(str(file), settings)]


def parse_overrides(overrides: Sequence[str]) -> Layer:
    """`ppo.steps=20`, `arms.ceiling=null`, `seeds=[0,1]`: dotted keys, YAML values."""
    settings: Raw = {}
    for override in overrides:
        key, equals, _ = override.partition("=")
        if not equals or not key.strip() or key.startswith("-"):
            raise ConfigError.at(COMMAND_LINE, f"{override!r} is no override", "write key=value, as in ppo.steps=20")
        try:
            parsed = OmegaConf.to_container(OmegaConf.from_dotlist([override]), resolve=False)
        except (OmegaConfBaseException, YAMLError) as error:
            raise ConfigError.at(f"{COMMAND_LINE}: {key}", "the value is not YAML", "quote it") from error
        assert isinstance(parsed, dict)
        settings = merged(settings, {str(name): value for name, value in parsed.items()})
    return Layer(COMMAND_LINE, settings)


def merged(below: Raw, above: Raw) -> Raw:
    """`above` over `below`: dicts merge, all else (lists and null too) replaces. Neither is changed."""
    result = dict(below)
    for key, value in above.items():
        known = result.get(key)
        result[key] = merged(known, value) if isinstance(known, dict) and isinstance(value, dict) else value
    return result


def stacked(layers: Sequence[Layer]) -> Raw:
    """All layers merged; an arm that is null in a layer is removed.

    Raises ConfigError when there is no such arm to remove.
    """
    result: Raw = {}
    for layer in layers:
        known, arms = result.get("arms"), layer.settings.get("arms")
        for name, arm in arms.items() if isinstance(arms, dict) else ():
            if arm is None and not (isinstance(known, dict) and name in known):
                raise ConfigError.at(f"{layer.source}: arms.{name}", "is empty", "give it a tier, as in {tier: weak}")
        result = merged(result, layer.settings)
        if isinstance(result.get("arms"), dict):
            result["arms"] = {name: arm for name, arm in result["arms"].items() if arm is not None}
    return result


def _read(file: Path) -> Raw:
    try:
        loaded = OmegaConf.to_container(OmegaConf.load(file), resolve=False)
    except YAMLError as error:
        raise ConfigError.at(str(file), f"not YAML: {_one_line(error)}", "correct it there") from error
    except (OmegaConfBaseException, UnicodeDecodeError, OSError) as error:
        raise ConfigError.at(str(file), _one_line(error), "give a readable YAML file of keys and values") from error
    if not isinstance(loaded, dict):
        raise ConfigError.at(str(file), "holds a list", "give keys and values, as in `name: my-run`")
    return {str(name): value for name, value in loaded.items()}


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
