"""What a form says, checked. Bodies are bounded before they are read into memory."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast, get_args
from urllib.parse import parse_qsl

from starlette.requests import Request

from sandwiching.launch.page.records import CONFIDENCE, Choice, Verdict

MOST_BYTES = 64 * 1024
LONGEST_WHY = 4000
"""Characters; the page's own limit."""
MOST_FIELDS = 20


class BadForm(ValueError):
    """A form that the page cannot have sent. The message is for the rater; status is HTTP's."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class Named:
    """What a form is about: an assignment by its key, and the attempt."""

    key: str
    attempt: int


async def fields(request: Request) -> dict[str, str]:
    """The fields of an urlencoded body. Raises BadForm."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MOST_BYTES:
            raise BadForm("This is too long to be saved.", 413)
    try:
        return dict(parse_qsl(body.decode(), strict_parsing=True, max_num_fields=MOST_FIELDS, errors="strict"))
    except ValueError as error:
        raise BadForm("The form could not be read. Reload the page and try again.") from error


def named(form: Mapping[str, str]) -> Named:
    """Raises BadForm."""
    attempt = form.get("attempt", "")
    if not attempt.isascii() or not attempt.isdigit() or len(attempt) > 6:
        raise BadForm("The form does not say which try this is. Reload the page.")
    return Named(form.get("key", ""), int(attempt))


def verdict(form: Mapping[str, str]) -> Verdict:
    """Raises BadForm for a choice or confidence that is not offered, or a reason that is too long."""
    choice, confidence = form.get("choice"), form.get("confidence")
    if choice not in get_args(Choice):
        raise BadForm("Choose one of the answers, or that they are equally good.")
    if confidence not in CONFIDENCE:
        raise BadForm("Say how sure you are.")
    why = form.get("why", "").replace("\x00", "").strip()
    if len(why) > LONGEST_WHY:
        raise BadForm(f"Your reason is too long: at most {LONGEST_WHY} characters.", 413)
    return Verdict(cast(Choice, choice), CONFIDENCE[confidence], _seconds(form.get("seconds", "")), why or None)


def _seconds(text: str) -> float | None:
    """What the browser measured; nothing usable counts as not measured."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) and value >= 0 else None
