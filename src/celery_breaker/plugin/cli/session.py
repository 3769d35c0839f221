"""What every ``celery breaker`` command stands on: its app's desk, and how what goes wrong there ends a command."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from celery_breaker.errors import BreakerError, BrokerError, StoreError, UnknownBreakerError
from celery_breaker.plugin.app import AppBreakers, breakers_of
from celery_breaker.settings.urls import shown
from celery_breaker.status import Desk

if TYPE_CHECKING:
    from celery.bin.base import CLIContext

__all__ = ["Failure", "UnknownBreaker", "opened", "quiet"]


class Failure(click.ClickException):
    """Ends the command with one sentence on stderr."""

    exit_code = 1


class Unreachable(Failure):
    """The store or the broker is away; the same command may work later."""

    exit_code = 4


class UnknownBreaker(Failure):
    """Nothing is known by this name."""

    exit_code = 5


@contextmanager
def opened(context: CLIContext, *, local: bool = False, reach: bool = True) -> Iterator[Desk]:
    """The desk of this command line's app; what goes wrong at it becomes a `Failure`.

    Args:
        local: go on where no store is shared, for what concerns the broker alone.
        reach: the store must answer now; without, for what goes on while it is away.
    """
    breakers = breakers_of(context.app)
    with quiet():
        try:
            context.app.loader.import_default_modules()
            if not (breakers.derived.shared or local):
                raise Failure(_not_shared(breakers))
            desk = breakers.desk
            if reach:
                desk.registry.link.shared.now()
            yield desk
        except UnknownBreakerError as exc:
            raise UnknownBreaker(_with_hint(exc, shared=breakers.derived.shared)) from exc
        except StoreError as exc:
            raise Unreachable(f"the store cannot be reached: {exc}") from exc
        except BrokerError as exc:
            raise Unreachable(str(exc)) from exc
        except BreakerError as exc:
            raise Failure(str(exc)) from exc
        finally:
            breakers.forget()  # waits a moment for announcements that are still on their way to the workers


def _with_hint(exc: UnknownBreakerError, *, shared: bool) -> str:
    if "template" in str(exc):
        return f"{exc} (`list` shows them)"
    if "did you mean" in str(exc):
        return str(exc)
    return f"{exc}; {'`list` shows all' if shared else 'is -A your app?'}"


@contextmanager
def quiet() -> Iterator[None]:
    """Errors go to stderr in one line; warnings do not, for the command itself says what it did."""
    handler, root = logging.StreamHandler(), logging.getLogger("celery_breaker")
    handler.setLevel(logging.ERROR)
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)


def _not_shared(breakers: AppBreakers) -> str:
    store = breakers.settings.store
    why = f"breaker_store is {shown(store)}" if store else breakers.derived.why
    return (
        f"{why}, so each process has breakers of its own and none can be seen or steered from here; set breaker_store "
        "to a store that is shared" + ("" if store else ", and check that -A names your app")
    )
