"""Eager tasks pass their breakers in tests, and only there."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from celery import Celery, chain
from celery.app.task import Task
from celery.exceptions import TimeoutError as ResultTimeoutError

from celery_breaker import BreakerOpen, BreakerTask, ConfigurationError
from celery_breaker.plugin import signals
from celery_breaker.plugin.aliases import AnyTask
from celery_breaker.testing import Breakers, in_memory

DOWN = OSError("the bank is down")


class Bank:
    """A service that a test takes down."""

    def __init__(self) -> None:
        self.down = False
        self.calls: list[object] = []

    def __call__(self, order: object) -> object:
        self.calls.append(order)
        if self.down:
            raise DOWN
        return order


@pytest.fixture
def bank() -> Bank:
    return Bank()


@pytest.fixture
def charge(app: Celery, bank: Bank) -> AnyTask:
    @app.task(shared=False, base=BreakerTask, breaker="bank", name="charge")
    def charge(order: object, note: str = "") -> object:
        return bank(order)

    return charge


def test_an_admitted_task_runs_and_a_refused_one_is_deferred(memory: Breakers, charge: AnyTask, bank: Bank) -> None:
    assert charge.delay(1).get() == 1
    with memory.forced("bank", "open"):
        result = charge.delay(2)
    assert (bank.calls, result.state) == ([1], "DEFERRED")
    info: Any = result.info
    assert info == {"breaker": "bank", "next_probe": None, "deferrals": 1}
    assert not result.ready()


def test_waiting_for_a_deferred_task_fails_at_once_with_the_cure(memory: Breakers, charge: AnyTask) -> None:
    with memory.forced("bank", "open"):
        result = charge.delay(2)
    with pytest.raises(ResultTimeoutError, match=r"task charge\[.*\] is deferred by breaker 'bank'.*release\('bank'\)"):
        result.get(timeout=60)


def test_a_released_task_runs_and_its_result_shows_it(memory: Breakers, charge: AnyTask) -> None:
    with memory.forced("bank", "open"):
        first, second = charge.delay(1), charge.delay(2)
    heard: list[object] = []
    first.then(lambda result: heard.append(result.get()))
    assert memory.release("bank") == 2
    assert (first.get(), second.state, heard) == (1, "SUCCESS", [1])
    memory.assert_nothing_deferred()


def test_what_is_released_while_the_breaker_is_open_is_deferred_again(memory: Breakers, charge: AnyTask) -> None:
    with memory.forced("bank", "open"):
        result = charge.delay(1)
        memory.release("bank")
        info: Any = result.info
        assert (result.state, info["deferrals"]) == ("DEFERRED", 2)
        assert memory.assert_deferred(charge).deferrals == 2
    memory.release("bank")
    assert result.get() == 1


def test_a_deferred_task_that_is_revoked_never_runs(memory: Breakers, charge: AnyTask, bank: Bank) -> None:
    with memory.forced("bank", "open"):
        result = charge.delay(1)
    result.revoke()
    memory.release("bank")
    assert (bank.calls, result.state) == ([], "REVOKED")


def test_failures_trip_and_a_probe_closes_without_a_sleep(memory: Breakers, charge: AnyTask, bank: Bank) -> None:
    bank.down = True
    assert [charge.delay(n).state for n in range(3)] == ["FAILURE", "FAILURE", "DEFERRED"]
    assert memory.state("bank") == "open"
    memory.clock.advance(29.9)
    assert memory.state("bank") == "open"
    memory.clock.advance(0.1)
    assert memory.state("bank") == "half_open"
    assert charge.delay(3).state == "FAILURE"
    assert memory.state("bank") == "open"
    memory.clock.advance(60)
    bank.down = False
    assert charge.delay(4).get() == 4
    assert memory.state("bank") == "closed"


def test_a_success_of_a_closed_breaker_is_counted_before_the_call_returns(
    memory: Breakers, charge: AnyTask, bank: Bank
) -> None:
    for n in range(5):
        charge.delay(n)
    bank.down = True
    for n in range(2):
        charge.delay(n)
    assert memory.state("bank") == "closed", "2 of 7 calls are not half"


def test_an_exception_is_let_out_where_tasks_propagate(
    app: Celery, memory: Breakers, charge: AnyTask, bank: Bank
) -> None:
    app.conf.task_eager_propagates = True
    with memory.forced("bank", "open"):
        waiting = [charge.delay(1), charge.delay(2)]
    bank.down = True
    with pytest.raises(OSError, match="the bank is down"):
        charge.delay(3)
    with pytest.raises(OSError, match="the bank is down"):
        memory.release("bank")
    assert [result.state for result in waiting] == ["FAILURE", "DEFERRED"], "the second failure trips"


def test_a_failing_breaker_fails_the_task_and_calls_its_errback(app: Celery, memory: Breakers) -> None:
    @app.task(shared=False, base=BreakerTask, breaker="strict", breaker_options={"on_open": "fail"})
    def strict() -> None: ...

    @app.task(shared=False)
    def on_error(request: Any, exc: Any, trace: Any) -> None:
        heard.append(exc)

    heard: list[object] = []
    with memory.forced("strict", "open"):
        result = strict.apply_async(link_error=on_error.s())
        assert (result.state, type(result.result)) == ("FAILURE", BreakerOpen)
        assert [type(exc) for exc in heard] == [BreakerOpen]
        app.conf.task_eager_propagates = True
        with pytest.raises(BreakerOpen):
            strict.delay()


def test_a_fallback_stands_in(app: Celery, memory: Breakers) -> None:
    def instead(exc: BreakerOpen, city: str) -> str:
        return f"{exc.name}: {city}"

    @app.task(shared=False, base=BreakerTask, breaker="geo", breaker_options={"on_open": instead})
    def locate(city: str) -> str:
        return city

    with memory.forced("geo", "open"):
        assert locate.delay("Oslo").get() == "geo: Oslo"
    assert locate.delay("Oslo").get() == "Oslo"


def test_a_task_that_would_be_sent_again_is_deferred_too(app: Celery, memory: Breakers) -> None:
    @app.task(shared=False, base=BreakerTask, breaker="late", breaker_options={"on_open": "retry"})
    def late() -> int:
        return 1

    with memory.forced("late", "open"):
        result = late.delay()
    assert memory.assert_deferred(late).action == "retry"
    memory.release("late")
    assert result.get() == 1


def test_a_retry_is_counted_and_gated_like_a_first_try(app: Celery, memory: Breakers, bank: Bank) -> None:
    @app.task(
        shared=False, base=BreakerTask, breaker="bank", autoretry_for=(OSError,), max_retries=5, retry_jitter=False
    )
    def stubborn(order: int) -> object:
        return bank(order)

    bank.down = True
    result = stubborn.delay(1)
    assert (result.state, len(bank.calls)) == ("DEFERRED", 2), "the second failure trips"
    bank.down = False
    memory.clock.advance(30)
    memory.release("bank")
    assert memory.state("bank") == "closed"


def test_links_and_arguments_by_reference_survive_the_deferral(app: Celery, memory: Breakers, charge: AnyTask) -> None:
    done: list[object] = []

    @app.task(shared=False)
    def after(value: object) -> None:
        done.append(value)

    order = object()
    with memory.forced("bank", "open"):
        charge.apply((order,))
        charge.apply_async((2,), link=after.s())
    assert done == []
    memory.assert_deferred(charge, args=(order,))
    memory.release("bank")
    assert done == [2]


def test_a_chain_stops_at_the_step_that_is_deferred(memory: Breakers, charge: AnyTask) -> None:
    with memory.forced("bank", "open"), pytest.raises(ResultTimeoutError, match="deferred by breaker 'bank'"):
        chain(charge.s(1), charge.s()).delay()
    memory.assert_deferred(charge, args=(1,))


def test_names_made_from_arguments(app: Celery, memory: Breakers) -> None:
    @app.task(shared=False, base=BreakerTask, breaker="hook:{host}", breaker_options={"max_failures": 1})
    def hook(host: str) -> None:
        raise DOWN

    hook.delay("a.example")
    assert hook.delay("a.example").state == "DEFERRED"
    assert hook.delay("b.example").state == "FAILURE"
    memory.assert_deferred(hook, args=["a.example"], breaker="hook:a.example")
    assert memory.state("hook:b.example") == "open"


def test_results_are_judged_by_the_users_own_code(app: Celery, memory: Breakers) -> None:
    options = {"max_failures": 1, "classify": lambda exc, result: "failure" if result == "error" else None}

    @app.task(shared=False, base=BreakerTask, breaker="judged", breaker_options=options)
    def judged(result: str) -> str:
        return result

    assert judged.delay("fine").get() == "fine"
    assert memory.state("judged") == "closed"
    assert judged.delay("error").get() == "error"
    assert memory.state("judged") == "open"


def test_a_call_is_slow_by_the_clock_of_the_test(app: Celery, memory: Breakers) -> None:
    @app.task(
        shared=False, base=BreakerTask, breaker="slow", breaker_options={"max_failures": 1, "slow_call_duration": 5}
    )
    def slow() -> None:
        memory.clock.advance(6)

    slow.delay()
    assert memory.state("slow") == "open"


def test_a_limit_of_deferrals_holds(app: Celery, memory: Breakers) -> None:
    @app.task(shared=False, base=BreakerTask, breaker="short", breaker_options={"max_deferrals": 1})
    def short() -> None: ...

    with memory.forced("short", "open"):
        result = short.delay()
        memory.release("short")
        assert type(result.result) is BreakerOpen


def test_a_task_with_a_call_of_its_own(app: Celery, memory: Breakers) -> None:
    class Own(BreakerTask):
        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            return super().__call__(*args, **kwargs)

    @app.task(shared=False, base=Own, breaker="own", breaker_options={"max_failures": 1})
    def own() -> None:
        raise DOWN

    own.delay()
    assert memory.state("own") == "open"
    assert own.delay().state == "DEFERRED"


def test_a_task_in_a_task_counts_for_itself(app: Celery, memory: Breakers, charge: AnyTask, bank: Bank) -> None:
    @app.task(shared=False, base=BreakerTask, breaker="mail", name="outer")
    def outer() -> str:
        with contextlib.suppress(OSError):
            charge(0)  # directly: not gated, not counted
        return str(charge.delay(1).state)

    bank.down = True
    assert [outer.delay().get() for _ in range(3)] == ["FAILURE", "FAILURE", "DEFERRED"]
    assert (memory.state("mail"), memory.state("bank")) == ("closed", "open")


def test_a_direct_call_is_not_gated(memory: Breakers, charge: AnyTask) -> None:
    with memory.forced("bank", "open"):
        assert charge(1) == 1


def test_an_argument_that_no_name_can_be_made_of_fails_the_task(app: Celery, memory: Breakers) -> None:
    @app.task(shared=False, base=BreakerTask, breaker="hook:{host}")
    def hook(host: str) -> None: ...

    assert isinstance(hook.delay("\n").result, ConfigurationError)


def test_signals_are_sent_as_by_a_worker(app: Celery, memory: Breakers, charge: AnyTask) -> None:
    heard: list[tuple[object, ...]] = []

    def hear(sender: object, name: str, task_name: str, action: str, deferrals: int, **_: object) -> None:
        heard.append((name, task_name, action, deferrals))

    signals.task_deferred.connect(hear, sender=app)
    try:
        with memory.forced("bank", "open"):
            charge.delay(1)
    finally:
        signals.task_deferred.disconnect(hear, sender=app)
    assert heard == [("bank", "charge", "park", 1)]


def test_afterwards_eager_tasks_run_as_ever(app: Celery, charge: AnyTask, bank: Bank) -> None:
    apply, run = Task.apply, charge.__dict__.get("run")
    with in_memory(app) as breakers, breakers.forced("bank", "open"):
        charge.delay(1)
        assert Task.apply is not apply
    assert Task.apply is apply
    assert charge.__dict__.get("run") is run
    bank.down = True
    assert [charge.delay(n).state for n in range(5)] == ["FAILURE"] * 5


def test_a_failure_may_set_its_own_task_aside(app: Celery, memory: Breakers, bank: Bank) -> None:
    @app.task(
        shared=False, base=BreakerTask, breaker="kept", breaker_options={"defer_failures": True, "max_failures": 2}
    )
    def kept(order: int) -> object:
        return bank(order)

    bank.down = True
    results = [kept.delay(order) for order in range(3)]
    assert [result.state for result in results] == ["DEFERRED"] * 3
    assert (bank.calls, memory.state("kept")) == ([0, 1], "open")
    bank.down = False
    memory.clock.advance(30)
    memory.release("kept")
    assert [result.get() for result in results] == [0, 1, 2]


def test_a_retry_beyond_the_budget_is_deferred(app: Celery, memory: Breakers, bank: Bank) -> None:
    options = {"retry_budget": 0.1, "max_failures": 100}

    @app.task(
        shared=False,
        base=BreakerTask,
        breaker="thrifty",
        breaker_options=options,
        autoretry_for=(OSError,),
        max_retries=20,
        retry_backoff=False,
    )
    def thrifty(order: int) -> object:
        return bank(order)

    bank.down = True
    result = thrifty.delay(1)
    assert (result.state, memory.state("thrifty")) == ("DEFERRED", "closed")
    assert 1 < len(bank.calls) < 20


def test_a_pausing_breaker_parks_what_is_in_hand(app: Celery, memory: Breakers) -> None:
    @app.task(shared=False, base=BreakerTask, breaker="paused", breaker_options={"on_open": "pause"})
    def paused() -> int:
        return 1

    with memory.forced("paused", "open"):
        result = paused.delay()
    memory.assert_deferred(paused)
    memory.release("paused")
    assert result.get() == 1
