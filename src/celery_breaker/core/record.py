"""The record of a breaker: the state that a fleet shares, and its form on the wire."""

from __future__ import annotations

import dataclasses
import enum
import json
from dataclasses import dataclass
from typing import TypeAlias

__all__ = ["LAST_TIME", "Mode", "Override", "Record", "State", "Tuning", "Value", "decode", "encode", "is_value"]

Value: TypeAlias = bool | int | float | str | None
"""Of an option that can be written down."""

Tuning: TypeAlias = tuple[tuple[str, Value], ...]
"""Options of the policy that an operator has set, by name in order; see ``core.tuning``."""


class State(str, enum.Enum):
    """What the breaker itself makes of the service.

    Example:
        >>> State.HALF_OPEN == "half_open"
        True
    """

    CLOSED = "closed"
    """Calls are admitted."""
    OPEN = "open"
    """No call is admitted."""
    HALF_OPEN = "half_open"
    """Probes are admitted, each on a permit."""

    __str__ = str.__str__


class Mode(str, enum.Enum):
    """What an operator makes of the breaker; orthogonal to the state.

    Example:
        >>> Mode.FORCED_OPEN == "forced_open"
        True
    """

    AUTO = "auto"
    """The state decides."""
    FORCED_OPEN = "forced_open"
    """No call is admitted, and nothing is probed."""
    DISABLED = "disabled"
    """All is admitted, and the state held still."""
    OBSERVING = "observing"
    """All is admitted, and the state moves as if it counted."""

    __str__ = str.__str__


@dataclass(frozen=True, slots=True, kw_only=True)
class Override:
    """An operator's word over the state. Times are seconds of the store's clock.

    Attributes:
        since: when it was said.
        expires: when it ends; ``None`` is never.

    Example:
        >>> Override(mode=Mode.FORCED_OPEN, since=100.0, expires=700.0, by="eve").expires
        700.0
    """

    mode: Mode
    since: float
    expires: float | None = None
    reason: str = ""
    by: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """Shared state of one breaker. All times are seconds of the store's clock.

    Attributes:
        generation: grows by one with each transition; every admission carries it.
        version: grows by one with each write; the key of compare-and-set. 0 means never written.
        since: when the state was entered.
        until: while open, when the next probe is due.
        trips: open intervals in a row without recovery; the exponent of the back-off.
        successes: successful half-open calls of this generation.
        last_fault: when the last failure that moved the state was seen.
        draining: parked tasks may wait although the breaker is closed.
        ramp: releases per second the agent allows itself while draining; 0 before the first step.
        recovering: since when the breaker admits calls again, after it was open or forced open; ``None`` once all that
            was parked meanwhile is back.
        tuning: options that an operator has set over the app's policy.

    Example:
        >>> fresh = Record(name="smtp")
        >>> str(fresh.state), str(fresh.mode), fresh.version
        ('closed', 'auto', 0)
    """

    name: str
    state: State = State.CLOSED
    generation: int = 0
    version: int = 0
    since: float = 0.0
    until: float = 0.0
    trips: int = 0
    successes: int = 0
    last_fault: float | None = None
    reason: str = ""
    override: Override | None = None
    draining: bool = False
    ramp: float = 0.0
    recovering: float | None = None
    tuning: Tuning = ()

    @property
    def mode(self) -> Mode:
        """The override's mode, or auto; says nothing about expiry (see ``machine.mode_at``)."""
        return self.override.mode if self.override else Mode.AUTO


LAST_TIME = 1e12
"""Seconds; some thirty thousand years, and false for what is no finite number."""

_FIELDS = frozenset(field.name for field in dataclasses.fields(Record))
_OVERRIDE_FIELDS = frozenset(field.name for field in dataclasses.fields(Override))


def encode(record: Record) -> str:
    """The record as JSON. The version travels beside it: it belongs to the store.

    Half a surrogate, which a text may have that came from a command line, is escaped: no store could write it.

    Example:
        >>> encode(Record(name="smtp"))[:31]
        '{"name":"smtp","state":"closed"'
    """
    data = dataclasses.asdict(record)
    del data["version"]
    if record.tuning:
        data["tuning"] = dict(record.tuning)
    else:
        del data["tuning"]
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    return text.encode("utf-8", "backslashreplace").decode()


def decode(data: str | bytes, *, version: int) -> Record:
    """Read what `encode` wrote; keys of a newer release are ignored.

    Raises:
        ValueError: the data is not a record.

    Example:
        >>> decode(encode(Record(name="smtp", generation=3)), version=7).generation
        3
    """
    try:
        raw = json.loads(data)
        fields = {key: value for key, value in raw.items() if key in _FIELDS}
        fields["state"] = State(fields.get("state", "closed"))
        if (override := fields.get("override")) is not None:
            known = {key: value for key, value in override.items() if key in _OVERRIDE_FIELDS}
            fields["override"] = Override(**{**known, "mode": Mode(known["mode"])})
        fields["tuning"] = tuple(sorted(fields.get("tuning", {}).items()))
        record = Record(**{**fields, "version": version})
    except (TypeError, KeyError, AttributeError, RecursionError) as exc:
        raise ValueError(f"not a breaker record: {exc}") from None
    if fault := _fault(record):
        raise ValueError(f"not a breaker record: {fault}")
    return record


def _fault(record: Record) -> str:
    """The first field with a value that the rules could not work with; empty if there is none."""
    override = record.override or Override(mode=Mode.AUTO, since=0.0)
    counts = (record.generation, record.trips, record.successes)
    times = [record.since, record.until, record.ramp, override.since]
    times += [time for time in (record.last_fault, record.recovering, override.expires) if time is not None]
    words = (record.name, record.reason, override.reason, override.by)
    if not all(type(count) is int and count >= 0 for count in counts):
        return "a count is none"
    if not all(type(time) in (int, float) and abs(time) < LAST_TIME for time in times):
        return "a time is none"
    if not all(isinstance(word, str) for word in words) or not isinstance(record.draining, bool):
        return "a word is none"
    if not all(is_value(value) for _, value in record.tuning):
        return "an option is none"
    return ""


def is_value(value: object) -> bool:
    """Whether a record can carry this as the value of an option."""
    return value is None or isinstance(value, (bool, str)) or (type(value) in (int, float) and abs(value) < LAST_TIME)  # type: ignore[arg-type]
