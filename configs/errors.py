"""What is wrong with a config, said so that it can be put right."""

from __future__ import annotations


class ConfigError(ValueError):
    """Wrong settings: one line each, with file, setting, value and remedy."""

    @classmethod
    def at(cls, place: str, problem: str, remedy: str) -> ConfigError:
        """`place` (a file and perhaps a setting) has a `problem`; `remedy` says what would be right."""
        return cls(f"{place}: {problem}; {remedy}")
