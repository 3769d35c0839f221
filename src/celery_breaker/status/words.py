"""Words for what is known of a breaker, the same wherever people read them: pure functions to plain text."""

from __future__ import annotations

import math
import re

from celery_breaker.core import tuning
from celery_breaker.core.record import LAST_TIME, Mode, State
from celery_breaker.errors import ConfigurationError
from celery_breaker.status.model import Status

__all__ = [
    "STATES",
    "expires_of",
    "human",
    "next_call",
    "override_words",
    "parked_words",
    "plain",
    "seconds_of",
    "sentence",
    "state_words",
    "tasks",
    "tuning_words",
]

STATES = {State.CLOSED: "closed", State.OPEN: "open", State.HALF_OPEN: "half-open"}

_SIZES = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))
_UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_TIME = re.compile(r"(\d+\.?\d*|\.\d+)\s*([smhd]?)", re.ASCII)


def human(seconds: float) -> str:
    """A duration in its two largest units.

    Example:
        >>> human(4.25), human(42.4), human(5400)
        ('4.2 s', '42 s', '1 h 30 min')
    """
    if seconds < 9.95:
        return f"{seconds:.1f}".removesuffix(".0") + " s"
    whole = round(seconds)
    place = next(index for index, (size, _) in enumerate(_SIZES) if whole >= size)
    size, unit = _SIZES[place]
    text = f"{whole // size} {unit}"
    if place + 1 < len(_SIZES):
        smaller, name = _SIZES[place + 1]
        if rest := whole % size // smaller:
            text += f" {rest} {name}"
    return text


def plain(text: str) -> str:
    """Text from elsewhere without what a terminal would obey."""
    return "".join(char if char.isprintable() else " " for char in text)


def seconds_of(text: str) -> float:
    """A time above 0, as people write it: seconds, or a number with s, m, h or d.

    Raises:
        ConfigurationError: it is none.

    Example:
        >>> seconds_of("90"), seconds_of("15m"), seconds_of(" 1.5 h ")
        (90.0, 900.0, 5400.0)
    """
    match = _TIME.fullmatch(text.strip())
    amount = float(match[1]) * _UNITS[match[2]] if match else 0.0
    if not 0 < amount < math.inf:
        raise ConfigurationError(f"{text!r} is not a time above 0; write 90, 90s, 15m, 2h or 1d")
    return amount


def expires_of(value: object) -> float | None:
    """How long an order is to last: seconds, or a text as in `seconds_of`; ``None`` and "" until it is lifted.

    Raises:
        ConfigurationError: it is none of these.
    """
    if value is None or value == "":
        return None
    if isinstance(value, str):
        return seconds_of(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < LAST_TIME:
        raise ConfigurationError(f"expires={value!r} is not a time above 0 in seconds")
    return float(value)


def tasks(number: int) -> str:
    """So many tasks.

    Example:
        >>> tasks(1), tasks(1200)
        ('1 task', '1,200 tasks')
    """
    return f"{number:,} task{'' if number == 1 else 's'}"


def state_words(status: Status) -> str:
    """The state, or the override that hides it."""
    state = STATES[State(status.state)]
    words = {Mode.AUTO: state, Mode.FORCED_OPEN: "forced open", Mode.DISABLED: "disabled"}
    return words.get(Mode(status.mode), f"observing, {state}")


def next_call(status: Status) -> str:
    """When a call may be made."""
    if status.admits:
        return "now"
    if status.retry_after is None:
        return "when lifted"
    if status.retry_after > 0:
        return f"in {human(status.retry_after)}"
    return "now, as a probe"


def parked_words(status: Status) -> str:
    """How many tasks are parked."""
    return "?" if status.parked is None else f"{status.parked:,}"


def override_words(status: Status) -> str:
    """Who, why and for how long, or nothing."""
    if status.mode == Mode.AUTO:
        return ""
    by = f"by {status.override_by}" if status.override_by else ""
    left = status.override_expires_in
    parts = [by, "until lifted" if left is None else f"for another {human(left)}"]
    said = ", ".join(part for part in parts if part)
    return plain(f"{said}: {status.override_reason}" if status.override_reason else said)


def tuning_words(status: Status) -> str:
    """Which options an operator has set, or nothing."""
    return plain(tuning.tuning_words(tuple(status.tuning.items())))


def sentence(status: Status) -> str:
    """One breaker in one line."""
    observing = status.mode == Mode.OBSERVING
    parts = [f"{'observing' if observing else state_words(status)} {override_words(status)}".rstrip()]
    if observing:
        parts.append(f"state {STATES[State(status.state)]}")
    if status.mode == Mode.AUTO and status.state != State.CLOSED:
        parts.append(f"next call {next_call(status)}")
        parts += [plain(status.reason)] if status.reason else []
    if status.tuning:
        parts.append(f"set: {tuning_words(status)}")
    if status.parked:
        parts.append(f"{parked_words(status)} parked" + (", going back" if status.returning else ""))
    return f"{plain(status.name)}: {'; '.join(parts)}"
