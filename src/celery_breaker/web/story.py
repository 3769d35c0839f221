"""What the page of one breaker tells besides figures: its journal, its failures, its policy. Pure."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from celery_breaker.core.journal import Entry, Event
from celery_breaker.core.policy import Policy
from celery_breaker.core.record import Mode, State
from celery_breaker.core.windows import parse_window
from celery_breaker.status.words import human, plain, tasks

__all__ = ["Failure", "Option", "Step", "Worker", "failures_of", "policy_of", "steps_of", "window_words", "workers_of"]

_SECONDS = (
    "slow_call_duration",
    "recovery_timeout",
    "max_recovery_timeout",
    "probe_timeout",
    "max_deferral_age",
)
_SHARES = ("failure_rate", "slow_call_rate", "jitter", "retry_budget")

_MOST = 0.8
"""Share of the failures from which on one worker stands out."""


@dataclass(frozen=True, slots=True)
class Step:
    """A line of the timeline; ``look`` names its colour and shape."""

    at: float
    look: str
    says: str
    why: str
    by: str
    generation: int


@dataclass(frozen=True, slots=True)
class Failure:
    """A call that failed."""

    at: float
    what: str
    task: str
    task_id: str
    by: str


@dataclass(frozen=True, slots=True)
class Worker:
    """A worker's failures, and which share of all they are (0 to 1)."""

    name: str
    failures: int
    share: float


@dataclass(frozen=True, slots=True)
class Option:
    """An option of a policy in words; ``own`` if it is not the default, ``set`` if an operator gave it."""

    name: str
    value: str
    own: bool
    set: bool


# --- the journal ------------------------------------------------------------------------------------------------------

_MOVES = {State.OPEN: "opened", State.HALF_OPEN: "half-opened, for probes", State.CLOSED: "closed"}
_MODES = {
    Mode.FORCED_OPEN: "forced open",
    Mode.DISABLED: "disabled: admits everything",
    Mode.OBSERVING: "observing: admits everything",
    Mode.AUTO: "override lifted",
}


def steps_of(history: Iterable[Entry]) -> tuple[Step, ...]:
    """The timeline, in the order of the journal."""
    return tuple(_step(entry) for entry in history)


def _step(entry: Entry) -> Step:
    look, says = _said(entry)
    by = "" if f" by {entry.by}" in entry.reason else entry.by  # what was closed by hand says so itself
    why = "" if entry.what == State.HALF_OPEN else entry.reason  # that is still the reason why it opened
    return Step(entry.at, look, plain(says), plain(why), plain(by), entry.generation)


def _said(entry: Entry) -> tuple[str, str]:
    if entry.event is Event.TRANSITION:
        moved = {str(state): words for state, words in _MOVES.items()}.get(entry.what, entry.what)
        again = entry.what == State.OPEN and entry.count > 1
        return entry.what.replace("_", "-"), f"{moved}, {_nth(entry.count)} time without recovery" if again else moved
    if entry.event is Event.OVERRIDE:
        said = {str(mode): words for mode, words in _MODES.items()}.get(entry.what, entry.what)
        return ("closed" if entry.what == Mode.AUTO else entry.what.replace("_", "-")), said
    if entry.event is Event.TUNED:
        return "moved", f"set: {entry.what}" if entry.what else "the app's own policy again"
    verb = "released by hand" if entry.event is Event.RELEASED else "deleted"
    return "moved", f"{tasks(entry.count)} {verb}"


def _nth(number: int) -> str:
    """An ordinal.

    Example:
        >>> [_nth(number) for number in (2, 3, 11, 21)]
        ['2nd', '3rd', '11th', '21st']
    """
    ending = {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th") if number % 100 not in (11, 12, 13) else "th"
    return f"{number}{ending}"


def failures_of(failures: Iterable[Entry]) -> tuple[Failure, ...]:
    """The last failures, in the order of the journal."""
    return tuple(
        Failure(entry.at, plain(entry.what), plain(entry.task), plain(entry.task_id), plain(entry.by))
        for entry in failures
    )


# --- workers ----------------------------------------------------------------------------------------------------------


def workers_of(failures: Mapping[str, int]) -> tuple[tuple[Worker, ...], str]:
    """Failures by worker, most first, and a word about one that stands out; empty if none does."""
    total = sum(failures.values())
    ranked = sorted(failures.items(), key=lambda item: (-item[1], item[0]))
    found = tuple(Worker(plain(name), count, count / total) for name, count in ranked if count)
    if len(found) > 1 and total >= 5 and found[0].share >= _MOST:
        return found, f"{found[0].share:.0%} of the failures are of {found[0].name}: look at that worker first."
    return found, ""


# --- the policy -------------------------------------------------------------------------------------------------------


def policy_of(policy: Policy, tuning: Iterable[str] = ()) -> tuple[Option, ...]:
    """All options; those that are not the default, or that an operator has set, first."""
    given = frozenset(tuning)
    own = {*policy.differences(Policy()), *given}
    options = [
        Option(
            field.name, plain(_value(field.name, getattr(policy, field.name))), field.name in own, field.name in given
        )
        for field in dataclasses.fields(policy)
    ]
    return tuple(sorted(options, key=lambda option: not option.own))


def window_words(policy: Policy) -> str:
    """The failure window in words.

    Example:
        >>> window_words(Policy()), window_words(Policy(failure_window="100 calls"))
        ('1 min', '100 calls')
    """
    window = parse_window(policy.failure_window)
    return f"{window.span:g} calls" if window.by_calls else human(window.span)


def _value(name: str, value: object) -> str:
    if name == "failure_window":
        return window_words(Policy(failure_window=value))  # type: ignore[arg-type]
    if value is None or value == ():
        return "none"
    if isinstance(value, tuple):
        return ", ".join(map(_named, value))
    if name in _SECONDS:
        return human(value)  # type: ignore[arg-type]
    if name in _SHARES:
        return f"{value:.0%}"
    if name == "ramp_start":
        return f"{value:g}/s"
    return _named(value)


def _named(value: object) -> str:
    return str(getattr(value, "__qualname__", value))
