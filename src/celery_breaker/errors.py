"""Every exception that this package raises, from one root, and how their messages name what was meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = [
    "BreakerError",
    "BreakerOpen",
    "BrokerError",
    "ConfigurationError",
    "ConflictError",
    "OutOfReachError",
    "RetryBudgetSpent",
    "StoreError",
    "UnknownBreakerError",
]


class BreakerError(Exception):
    """Root of all errors of celery-breaker.

    Example:
        >>> try:
        ...     raise BreakerOpen("smtp")
        ... except BreakerError as error:
        ...     print(error)
        breaker 'smtp' is open
    """


class ConfigurationError(BreakerError, ValueError):
    """An option, a name or a URL that cannot work; the message is one sentence with the cure.

    Example:
        >>> from celery_breaker import Policy
        >>> Policy(max_failures=0)
        Traceback (most recent call last):
        ...
        celery_breaker.errors.ConfigurationError: max_failures=0 must be a whole number of at least 1
    """


class StoreError(BreakerError):
    """The store could not be reached or did not answer in time.

    No guarded call raises it, for calls do without the store; what an operator orders does, and so does the desk.

    Example:
        In a runbook::

            try:
                Breaker("smtp").open(reason="the mail host moves", expires=3600)
            except StoreError:
                print("the workers were not told: try again")
    """


class BrokerError(BreakerError):
    """The broker could not be reached, or cannot do what was asked of it.

    Example:
        What is parked, as far as this broker shows it::

            try:
                tasks = current_desk().parked("smtp")
            except BrokerError as error:
                print(error)
    """


class UnknownBreakerError(BreakerError, LookupError):
    """Nothing is known of a breaker by this name.

    Example:
        An operator's typing error::

            current_desk().require("smpt")
            # UnknownBreakerError: no breaker 'smpt' is declared or has a record; did you mean 'smtp'?
    """


class OutOfReachError(BreakerError):
    """Each worker keeps this breaker, or all breakers, for itself, so nobody else can see or steer them.

    Example:
        A breaker of ``scope="worker"``::

            current_desk().require("gpu-here")
            # OutOfReachError: breaker 'gpu-here' has scope='worker': each worker keeps its own, …
    """


class ConflictError(BreakerError):
    """Others changed the breaker at the same time; look, and try again.

    Example:
        Trying once more::

            try:
                desk.act("smtp", actions.close(by="deploy.sh"))
            except ConflictError:
                desk.act("smtp", actions.close(by="deploy.sh"))
    """


class BreakerOpen(BreakerError):
    """The call was not made because the breaker does not admit it.

    Survives pickling and Celery's JSON form of exceptions.

    Attributes:
        name: the breaker's name.
        retry_after: seconds until the next call may be admitted; ``None`` if nobody can say.

    Example:
        >>> str(BreakerOpen("smtp", 12.5))
        "breaker 'smtp' is open, next call in 12.5 s"
    """

    def __init__(self, name: str, retry_after: float | None = None) -> None:
        super().__init__(name, retry_after)
        self.name = name
        self.retry_after = retry_after

    def __str__(self) -> str:
        when = "" if self.retry_after is None else f", next call in {self.retry_after:.1f} s"
        return f"breaker {self.name!r} is open{when}"


class RetryBudgetSpent(BreakerOpen):
    """A task's own retry was past the breaker's retry budget, and could not be deferred any more.

    Example:
        >>> str(RetryBudgetSpent("smtp", 12.5))
        "the retry budget of breaker 'smtp' is spent, next retry in 12.5 s"
    """

    def __str__(self) -> str:
        when = "" if self.retry_after is None else f", next retry in {self.retry_after:.1f} s"
        return f"the retry budget of breaker {self.name!r} is spent{when}"


def nearest(word: str, known: Iterable[str]) -> str:
    """The known word that this one is likely meant to be; empty if none is near.

    Example:
        >>> nearest("parc", ("park", "retry"))
        'park'
    """
    near = difflib.get_close_matches(str(word), list(known), n=1)
    return near[0] if near else ""


def suggestion(word: str, known: Iterable[str], *, otherwise: str | None = None) -> str:
    """The end of a message about an unknown word: the nearest known one, else ``otherwise``, or all of them.

    Example:
        >>> suggestion("parc", ("park", "retry"))
        "; did you mean 'park'?"
        >>> suggestion("x", ("park", "retry"))
        '; known are park, retry'
    """
    known = tuple(known)
    if near := nearest(word, known):
        return f"; did you mean {near!r}?"
    said = f"known are {', '.join(known)}" if otherwise is None else otherwise
    return f"; {said}" if said else ""
