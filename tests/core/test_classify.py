"""Which outcomes are failures, successes, or say nothing."""

from __future__ import annotations

import asyncio
import email.message
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from celery_breaker.core.classify import is_slow, judge, judge_class, judge_result, retry_after_of
from celery_breaker.core.policy import Policy
from celery_breaker.core.verdict import Verdict
from celery_breaker.errors import BreakerOpen

FAILURE, SUCCESS, NEUTRAL = Verdict.FAILURE, Verdict.SUCCESS, Verdict.NEUTRAL


class ServiceDown(ConnectionError):
    pass


@pytest.mark.parametrize(
    ("options", "exception", "verdict"),
    [
        ({}, ValueError(), FAILURE),
        ({"failures": OSError}, ServiceDown(), FAILURE),
        ({"failures": OSError}, ValueError(), SUCCESS),
        ({"failures": "builtins.OSError"}, ServiceDown(), FAILURE),
        ({"failures": "OSError"}, ServiceDown(), FAILURE),
        ({"failures": f"{__name__}.ServiceDown"}, ServiceDown(), FAILURE),
        ({"failures": "elsewhere.ServiceDown"}, ServiceDown(), SUCCESS),
        ({"failures": "ServiceDown"}, ServiceDown(), SUCCESS),
        ({"ignore": ValueError}, ValueError(), NEUTRAL),
        ({"ignore": LookupError}, KeyError(), NEUTRAL),
        ({"ignore": "LookupError"}, KeyError(), NEUTRAL),
        ({"failures": LookupError, "ignore": KeyError}, KeyError(), NEUTRAL),
        ({"failures": LookupError, "ignore": KeyError}, IndexError(), FAILURE),
        ({"failures": ()}, ValueError(), SUCCESS),
    ],
)
def test_an_exception_is_judged_by_its_class(options: dict[str, Any], exception: Exception, verdict: Verdict) -> None:
    assert judge(exception, Policy(**options)) is verdict
    assert judge_class(type(exception), Policy(**options)) is verdict


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit, GeneratorExit, asyncio.CancelledError, BaseException])
def test_an_interruption_says_nothing_about_the_service(kind: type[BaseException]) -> None:
    assert judge(kind(), Policy()) is NEUTRAL


def test_the_refusal_of_another_breaker_says_nothing_about_the_service() -> None:
    def classify(exception: BaseException | None, result: object) -> str:
        return "failure"

    assert judge(BreakerOpen("db", 1.0), Policy()) is NEUTRAL
    assert judge(BreakerOpen("db", 1.0), Policy(classify=classify)) is NEUTRAL
    assert judge_class(BreakerOpen, Policy()) is NEUTRAL


def test_a_timeout_that_is_no_exception_counts_where_it_is_named() -> None:
    class Timeout(BaseException):
        """Like that of gevent."""

    assert judge(Timeout(), Policy(failures=(Timeout,))) is FAILURE
    assert judge(Timeout(), Policy(failures=(Timeout,), ignore=(Timeout,))) is NEUTRAL
    assert judge(Timeout(), Policy()) is NEUTRAL


@pytest.mark.parametrize("answer", [NEUTRAL, "neutral"])
def test_classify_comes_before_the_lists(answer: Verdict | str) -> None:
    assert judge(ValueError(), Policy(classify=lambda exception, result: answer)) is NEUTRAL


def test_classify_may_leave_it_to_the_lists() -> None:
    policy = Policy(classify=lambda exception, result: None, ignore=KeyError)
    assert judge(ValueError(), policy) is FAILURE
    assert judge(KeyError(), policy) is NEUTRAL
    assert judge_result(5, policy) is SUCCESS


def test_classify_sees_the_exception_or_the_result() -> None:
    seen = []
    policy = Policy(classify=lambda exception, result: seen.append((exception, result)))  # type: ignore[func-returns-value]
    failure = ValueError()
    judge(failure, policy)
    judge_result(5, policy)
    assert seen == [(failure, None), (None, 5)]


def test_a_result_can_be_a_failure() -> None:
    policy = Policy(classify=lambda exception, result: "failure" if result == 503 else None)
    assert judge_result(503, policy) is FAILURE
    assert judge_result(200, policy) is SUCCESS


def test_an_answer_that_is_no_verdict_is_an_error() -> None:
    with pytest.raises(ValueError, match="maybe"):
        judge_result(1, Policy(classify=lambda exception, result: "maybe"))


@pytest.mark.parametrize(
    ("limit", "duration", "slow"),
    [(None, 99.0, False), (1.0, None, False), (1.0, 1.0, False), (1.0, 1.01, True), (1.0, 0.0, False)],
)
def test_a_call_is_slow_past_the_limit(limit: float | None, duration: float | None, slow: bool) -> None:
    assert is_slow(duration, Policy(slow_call_duration=limit)) is slow


class Response:
    def __init__(self, headers: object) -> None:
        self.headers = headers


def error(**attributes: object) -> Exception:
    exception = RuntimeError()
    for name, value in attributes.items():
        setattr(exception, name, value)
    return exception


def message(value: str) -> email.message.Message:
    """What urllib's `HTTPError.headers` is: it ignores case."""
    headers = email.message.Message()
    headers["retry-after"] = value
    return headers


@pytest.mark.parametrize(
    ("exception", "seconds"),
    [
        (None, None),
        (RuntimeError(), None),
        (error(retry_after=12), 12.0),
        (error(retry_after="2.5"), 2.5),
        (error(retry_after=0.5), 0.5),
        (error(retry_after=0), None),
        (error(retry_after=-3), None),
        (error(retry_after="soon"), None),
        (error(retry_after=float("nan")), None),
        (error(retry_after=float("inf")), None),
        (error(retry_after=10**400), None),
        (error(response=Response({"Retry-After": "7"})), 7.0),
        (error(response=Response(message("7"))), 7.0),
        (error(headers=message("9")), 9.0),
        (error(response=Response({"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"})), None),
        (error(response=Response({})), None),
        (error(response=Response(None)), None),
        (error(response=None), None),
        (error(headers=[("Retry-After", "7")]), None),
        (error(retry_after=3, response=Response({"Retry-After": "7"})), 3.0),
    ],
)
def test_the_service_may_ask_for_time(exception: BaseException | None, seconds: float | None) -> None:
    assert retry_after_of(exception) == seconds


def test_an_exception_that_raises_when_looked_at_asks_for_nothing() -> None:
    class Touchy(Exception):
        @property
        def retry_after(self) -> float:
            raise RuntimeError("not connected")

    class Odd:
        def get(self) -> None:
            """Takes no key."""

    assert retry_after_of(Touchy()) is None
    assert retry_after_of(error(headers=Odd())) is None


@given(st.none() | st.integers() | st.floats() | st.text() | st.binary() | st.dictionaries(st.text(), st.integers()))
def test_what_is_asked_for_is_a_time_or_nothing(value: object) -> None:
    seconds = retry_after_of(error(retry_after=value))
    assert seconds is None or 0 < seconds < float("inf")
