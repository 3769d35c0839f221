"""The guard: which retries must ask the budget, and which failures may be deferred."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from celery import Celery

from celery_breaker import BreakerTask, RetryBudgetSpent
from celery_breaker.core import machine
from celery_breaker.core.budget import LEAST
from celery_breaker.core.record import Mode, State
from celery_breaker.engine.view import Ticket
from celery_breaker.plugin.app import breakers_of
from celery_breaker.plugin.gate.deferral import Refused
from celery_breaker.plugin.gate.guard import Guard
from celery_breaker.plugin.gate.inside import TICKETS
from celery_breaker.plugin.gate.turnstile import SetAside
from celery_breaker.plugin.parking.note import Note
from celery_breaker.plugin.pausing.pausing import Pausing
from tests.engine.world import SilentReporter


class Loop:
    """A main loop on which everything happens at once; every message came from the queue `origin_queue`."""

    connections = 1
    forks = True
    origin_queue: str | None = "celery"

    def __init__(self) -> None:
        self.ran: list[Any] = []

    def soon(self, call: Callable[[], object]) -> None:
        call()

    def run(self, request: Any) -> None:
        self.ran.append(request)

    def origin(self, message: Any) -> str | None:
        return self.origin_queue

    def forget(self, message: Any) -> None:
        """Nothing to forget."""


class Request(SimpleNamespace):
    """A request, which the worker keeps in sets."""

    __hash__ = object.__hash__  # type: ignore[assignment]


class Stage:
    """A guard, and what became of its requests."""

    def __init__(self, app: Celery) -> None:
        @app.task(name="tests.work", base=BreakerTask, breaker="svc")
        def work() -> None:
            """Never run."""

        breakers = breakers_of(app)
        self.registry = breakers.registry
        self.registry.reporter = SilentReporter()  # type: ignore[assignment]
        self.loop = Loop()
        loop: Any = self.loop
        self.aside: list[Refused] = []
        self.guard = Guard(
            work,
            registry=self.registry,
            policies=breakers.policies,
            loop=self.loop,  # type: ignore[arg-type]
            deferrer=SimpleNamespace(submit=self.aside.append),  # type: ignore[arg-type]
            pausing=Pausing(self.registry, loop, plan={}, guarded={}, leases={}),
            shared=True,
        )
        self.cell = self.registry.cell("svc")
        self.registry.work()

    def request(self, *, retries: int = 0, note: Note | None = None) -> Any:
        headers = {"id": "1", "task": "tests.work", "retries": retries}
        message = SimpleNamespace(headers=headers if note is None else note.on(headers))
        return Request(
            id="1",
            args=(),
            kwargs={},
            message=message,
            request_dict=dict(message.headers),
            revoked=lambda: False,
            acknowledge=lambda: None,
            acknowledged=False,
            time_limits=(None, None),
            tickets=None,
            deferrable=None,
        )

    def arrives(self, **options: Any) -> bool:
        """A request arrives and the reporter does its work; whether it runs, with what counts its outcome."""
        request = self.request(**options)
        try:
            self.guard.gate(request)
        except SetAside:
            self.registry.work()
            return request in self.loop.ran and request.tickets is not None
        return request.tickets is not None


@pytest.fixture
def make_stage(make_app: Callable[[Mapping[str, Any]], Celery]) -> Callable[..., Stage]:
    def make(**options: Any) -> Stage:
        return Stage(make_app({"broker_url": "memory://", "breaker_store": "memory://", "breakers": {"svc": options}}))

    return make


def spent(stage: Stage) -> None:
    """Use up the budget of a quiet service."""
    assert [stage.arrives(retries=1) for _ in range(LEAST)] == [True] * LEAST


def test_past_the_budget_a_retry_is_parked_until_there_may_be_room(make_stage: Callable[..., Stage]) -> None:
    stage = make_stage(retry_budget=0.1)
    spent(stage)
    assert not stage.arrives(retries=1)
    assert stage.aside[0].action == "park"
    assert 50 < (stage.aside[0].wait or 0.0) <= 90, "the first place falls free after a window"


def test_first_attempts_ask_nothing(make_stage: Callable[..., Stage]) -> None:
    stage = make_stage(retry_budget=0.1)
    spent(stage)
    assert all(stage.arrives() for _ in range(10))


def test_without_a_budget_retries_ask_nothing(make_stage: Callable[..., Stage]) -> None:
    assert all(make_stage().arrives(retries=1) for _ in range(10))


def test_where_it_could_not_be_put_back_a_retry_runs(make_stage: Callable[..., Stage]) -> None:
    stage = make_stage(retry_budget=0.1)
    spent(stage)
    stage.loop.origin_queue = None
    assert stage.arrives(retries=1)
    assert stage.arrives(retries=1), "also when the budget is known to be spent"
    assert stage.aside == []


def test_past_its_deferrals_a_retry_fails(make_stage: Callable[..., Stage]) -> None:
    stage = make_stage(retry_budget=0.1, max_deferrals=2)
    spent(stage)
    assert not stage.arrives(retries=1, note=Note(deferrals=2, first=0.0))
    assert stage.aside[0].action == "fail"
    assert isinstance(stage.aside[0].error, RetryBudgetSpent)


@pytest.mark.parametrize(
    ("note", "runs"),
    [
        (Note(breaker="svc", deferrals=1, retries=1, since=-10.0), True),
        (Note(breaker="svc", deferrals=1, retries=1, since=-10.0, due=1e11), True),
        (Note(breaker="svc", deferrals=1, retries=1, since=1e11, due=1.0), False),
        (Note(breaker="svc", deferrals=1, retries=0, since=-10.0), False),
        (Note(breaker="other", deferrals=1, retries=1, since=-10.0), False),
    ],
    ids=["refused when open", "parked before the trip", "at its time", "a retry of what came back", "of another"],
)
def test_what_comes_back_with_the_recovery_asks_nothing(
    make_stage: Callable[..., Stage], note: Note, runs: bool
) -> None:
    stage = make_stage(retry_budget=0.1)
    spent(stage)
    assert stage.arrives(retries=1, note=note) is runs


def test_an_operator_s_word_goes_before_the_budget(make_stage: Callable[..., Stage]) -> None:
    stage = make_stage(retry_budget=0.1)
    spent(stage)
    stage.registry.change(stage.cell, lambda record, now: machine.override(record, Mode.DISABLED, now=now))
    assert stage.arrives(retries=1)


def test_a_failure_may_be_deferred_with_what_it_takes_to_park_it(make_stage: Callable[..., Stage]) -> None:
    stage = make_stage(defer_failures=True, max_deferrals=2)
    request = stage.request(note=Note(deferrals=1))
    stage.guard.gate(request)
    assert request.request_dict[TICKETS]["defers"] == ["svc"]
    assert (request.deferrable.origin, request.deferrable.connection) == ("celery", 1)


def test_past_its_limit_or_from_nowhere_a_failure_is_one(make_stage: Callable[..., Stage]) -> None:
    stage = make_stage(defer_failures=True, max_deferrals=2)
    worn = stage.request(note=Note(deferrals=2))
    worn.request_dict[TICKETS] = {"reports": False, "defers": ["svc"]}
    stage.guard.gate(worn)
    stage.loop.origin_queue = None
    homeless = stage.request()
    stage.guard.gate(homeless)
    for request in (worn, homeless):
        assert request.deferrable is None
        assert TICKETS not in request.request_dict


def granted(stage: Stage, request: Any) -> None:
    """Somebody won a permit, and fetched this very message for it."""
    ticket = Ticket(stage.cell, generation=stage.cell.record.generation, epoch=0, permit="w1:1")
    stage.guard._pausing.grants.put(request.message, ticket)


def test_a_message_that_was_fetched_for_a_permit_runs_on_it_and_asks_no_more(make_stage: Callable[..., Stage]) -> None:
    stage = make_stage()
    stage.registry.change(stage.cell, lambda record, now: replace(record, state=State.HALF_OPEN, generation=2))
    request = stage.request()
    granted(stage, request)
    stage.guard.gate(request)
    assert [ticket.permit for ticket in request.tickets] == ["w1:1"]


def test_a_permit_is_free_again_if_the_retry_that_it_was_won_for_is_over_budget(
    make_stage: Callable[..., Stage],
) -> None:
    stage = make_stage(retry_budget=0.1)
    spent(stage)
    stage.arrives(retries=1)  # so that it is known
    request = stage.request(retries=1)
    granted(stage, request)
    with pytest.raises(SetAside):
        stage.guard.gate(request)
    assert stage.guard._pausing.grants.take(request.message) is None
