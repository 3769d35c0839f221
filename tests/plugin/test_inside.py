"""What the pool makes of a failure: raised as Celery knows it, or as the word that the task is set aside."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from celery import Celery, Task
from celery.exceptions import Ignore, Reject, Retry, SoftTimeLimitExceeded

from celery_breaker import BreakerTask
from celery_breaker.core.verdict import Verdict
from celery_breaker.engine.view import Ticket
from celery_breaker.plugin.app import breakers_of
from celery_breaker.plugin.gate.failures import FailureDeferred
from celery_breaker.plugin.gate.inside import TICKETS, charge_of, wrap_run


class Pool:
    """A process in which a wrapped task runs as the worker would have it run."""

    def __init__(self, app: Celery) -> None:
        self.app = app
        self.raised: BaseException | None = None
        self.inner, self.met = False, BaseException()
        self.headers: dict[str, Any] = {}
        self.registry = breakers_of(app).registry

        @app.task(name="tests.work", base=BreakerTask, breaker="svc", bind=True)
        def work(task: Task[Any, Any]) -> str:
            self.headers = dict(task.request.headers or {})
            if self.inner:
                self.inner = False
                try:
                    return str(task.run())
                except BaseException as exc:
                    self.met = exc
                    raise
            if self.raised is not None:
                raise self.raised
            return "done"

        self.task = work
        wrap_run(work)

    def ticket(self) -> Ticket:
        return self.registry.cell("svc").ticket

    def run(self, *, defers: bool = True, retries: int = 0) -> Any:
        charge = charge_of([self.ticket()], reports=False, defers=["svc"] if defers else [])
        self.task.push_request(id="1", retries=retries, called_directly=False, **{TICKETS: charge})
        try:
            return self.task.run()
        finally:
            self.task.pop_request()


@pytest.fixture
def make_pool(make_app: Callable[[Mapping[str, Any]], Celery]) -> Callable[..., Pool]:
    def make(**options: Any) -> Pool:
        policy = {"defer_failures": True, **options}
        return Pool(make_app({"broker_url": "memory://", "breaker_store": "memory://", "breakers": {"svc": policy}}))

    return make


def deferred(pool: Pool) -> FailureDeferred:
    with pytest.raises(FailureDeferred) as raised:
        pool.run()
    return raised.value


def test_a_failure_becomes_a_word_to_the_main_process_with_the_verdict_and_its_reason(
    make_pool: Callable[..., Pool],
) -> None:
    pool = make_pool()
    pool.raised = OSError("away")
    pool.raised.retry_after = 7  # type: ignore[attr-defined]
    (outcome,) = deferred(pool).outcomes([pool.ticket()])
    assert (outcome.verdict, outcome.failed, outcome.asked) == (Verdict.FAILURE, True, 7.0)
    assert outcome.reason == "OSError('away')"


def test_the_word_survives_pickling_and_is_one_that_celery_records_nothing_for() -> None:
    word = FailureDeferred(0, [("failure", False, "OSError('away')", 7.0, True)])
    again = pickle.loads(pickle.dumps(word))
    assert isinstance(again, Ignore)
    assert (again.chosen, again.judged) == (word.chosen, word.judged)
    assert str(again) == "failed, and is set aside: OSError('away')"


@pytest.mark.parametrize(
    "exc", [KeyError("x"), Retry(exc=OSError("x")), Ignore(), Reject(), MemoryError(), SystemExit(1)], ids=repr
)
def test_what_is_no_failure_or_has_gone_its_own_way_is_left_alone(
    make_pool: Callable[..., Pool], exc: BaseException
) -> None:
    pool = make_pool(failures=["OSError", "MemoryError", "SystemExit"])
    pool.raised = exc
    with pytest.raises(type(exc)) as raised:
        pool.run()
    assert raised.value is exc


def test_a_task_that_may_not_be_deferred_fails_with_its_own_exception(make_pool: Callable[..., Pool]) -> None:
    pool = make_pool()
    pool.raised = OSError("away")
    with pytest.raises(OSError, match="away"):
        pool.run(defers=False)


def test_a_soft_time_limit_counts_whatever_counts_otherwise(make_pool: Callable[..., Pool]) -> None:
    pool = make_pool(failures=["OSError"])
    pool.raised = SoftTimeLimitExceeded()
    assert deferred(pool)


def test_a_slow_success_is_done_and_is_not_run_again(make_pool: Callable[..., Pool]) -> None:
    assert make_pool(slow_call_duration=1e-9).run() == "done"


def test_a_slow_answer_that_is_no_failure_is_not_run_again(make_pool: Callable[..., Pool]) -> None:
    pool = make_pool(slow_call_duration=1e-9, failures=["OSError"])
    pool.raised = KeyError("x")
    with pytest.raises(KeyError):
        pool.run()


def test_a_result_that_classifies_as_a_failure_is_run_again(make_pool: Callable[..., Pool]) -> None:
    assert deferred(make_pool(classify="tests.plugin.test_inside.always"))


def always(exception: BaseException | None, result: object) -> str:
    return "failure"


def test_a_run_within_the_run_is_not_judged_and_a_retry_carries_nothing_along(
    make_pool: Callable[..., Pool],
) -> None:
    pool = make_pool()
    pool.inner, pool.raised = True, OSError("away")
    deferred(pool)
    assert pool.met is pool.raised
    assert TICKETS not in pool.headers


def test_direct_calls_and_the_eager_mode_are_left_alone(make_pool: Callable[..., Pool]) -> None:
    pool = make_pool()
    pool.raised = OSError("away")
    with pytest.raises(OSError, match="away"):
        pool.task()
    assert isinstance(pool.task.apply().result, OSError)
