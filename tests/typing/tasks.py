"""Tasks, with the types of `celery-types`."""

# pyright: strict, reportUnnecessaryTypeIgnoreComment=true

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from celery import Celery
from celery.canvas import Signature
from celery.contrib.django.task import DjangoTask
from celery.result import AsyncResult
from typing_extensions import assert_type

from celery_breaker import BreakerTask

app = Celery("typing", broker="memory://")
app.conf.breakers = {"smtp": {"max_failures": 5}}


# --- without a signature: as with Celery's own base, arguments and result are not checked -----------------------------


@app.task(base=BreakerTask, breaker="smtp", breaker_options={"max_failures": 3}, autoretry_for=(OSError,))
def loose(to: str) -> int:
    """Knows its breaker."""
    return len(to)


@app.task(bind=True, base=BreakerTask, breaker=["crm", "webhook:{to}"])
def bound(self: BreakerTask, to: str) -> int:
    """Knows itself."""
    return len(to) + self.request.retries


# --- with a signature: it is kept -------------------------------------------------------------------------------------


@app.task(base=BreakerTask[[str], int], breaker="smtp")
def signed(to: str) -> int:
    """Checked at each call."""
    return len(to)


@app.task(bind=True, base=BreakerTask[[str], int], breaker="smtp")
def signed_and_bound(self: BreakerTask[[str], int], to: str) -> int:
    """Knows itself too."""
    return len(to) + self.request.retries


class WithSession(BreakerTask):
    """A base class of a project's own."""

    abstract = True
    session: str = "one"


@app.task(base=WithSession, breaker="smtp")
def in_session(to: str) -> int:
    """Has what its base has."""
    return len(to)


every = Celery("typing-every", broker="memory://", task_cls=BreakerTask)


@every.task(breaker="smtp")
def of_the_app(to: str) -> int:
    """Of an app whose tasks all are ones."""
    return len(to)


def types() -> None:
    """What a decorated function is."""
    for each in (loose, bound, of_the_app):
        assert_type(each.breaker, str | Sequence[str] | None)
    assert_type(in_session, WithSession)
    assert_type(in_session.session, str)
    assert_type(signed, BreakerTask[[str], int])
    assert_type(signed_and_bound, BreakerTask[[str], int])


class OfBoth(BreakerTask, DjangoTask):  # type: ignore[misc, type-arg]  # celery-types says that delay_on_commit returns
    """There is no need to, but it works."""

    abstract = True


def on_commit() -> None:
    """As `delay` and `apply_async`, but what is sent later has no result now."""
    loose.delay_on_commit("ann", 2)
    loose.apply_async_on_commit(("ann",), countdown=1)
    signed.delay_on_commit("ann")
    signed.apply_async_on_commit(("ann",), countdown=1)
    in_session.delay_on_commit("ann")
    later: Callable[[str], None] = signed.delay_on_commit
    later("ann")


def calls() -> None:
    """What calls give."""
    assert_type(loose("ann"), Any)
    assert_type(loose.delay("ann"), AsyncResult[Any])
    assert_type(signed("ann"), int)
    assert_type(signed.delay("ann"), AsyncResult[int])
    assert_type(signed.delay("ann").get(), int)
    assert_type(signed.si("ann"), Signature[int])
    assert_type(signed.apply_async(("ann",), countdown=1), AsyncResult[int])
    assert_type(signed_and_bound.delay("ann"), AsyncResult[int])
    assert_type(signed.delay_on_commit("ann"), None)


def mistakes() -> None:
    """What a type checker must not let pass."""
    signed(1)  # type: ignore[arg-type]
    signed.delay(1)  # type: ignore[arg-type]
    signed_and_bound.delay()  # type: ignore[call-arg]
    signed.si("ann", "bob")  # type: ignore[call-arg]
    signed.delay_on_commit(1)  # type: ignore[arg-type]
    signed.apply_async_on_commit(("ann",), countdown="1")  # type: ignore[arg-type]
