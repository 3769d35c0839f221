"""The pytest plugin, in a pytest of its own."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

pytest_plugins = ["pytester"]

_OTHERS = ("-p", "no:celery", "-p", "no:docker_tools", "-p", "no:cacheprovider")
"""Not of pytest-celery, whose fixtures have the names of those of celery.contrib.pytest."""

_APP = """
import threading
import pytest
from celery import Celery
from celery_breaker import BreakerTask

app = Celery("shop", broker="memory://", backend="cache+memory://")
app.conf.breakers = {"bank": {"max_failures": 2, "recovery_timeout": 30}}

@app.task(base=BreakerTask, breaker="bank")
def charge(order):
    if order < 0:
        raise OSError("down")
    return order
"""

_IN_A_WORKER = """
import pytest
from celery_breaker import BreakerTask

pytest_plugins = ["celery.contrib.pytest"]

@pytest.fixture(scope="session")
def celery_config():
    breakers = {"bank": {"max_failures": 2, "recovery_timeout": 30}}
    return {"broker_url": "memory://", "result_backend": "cache+memory://", "breakers": breakers}

@pytest.fixture(scope="session")
def celery_worker_parameters():
    return {"perform_ping_check": False}

@pytest.fixture
def charge(celery_app):
    @celery_app.task(base=BreakerTask, breaker="bank", name="charge", shared=False)
    def charge(order):
        if order < 0:
            raise OSError("down")
        return order
    return charge
"""

Run = Callable[..., pytest.RunResult]


@pytest.fixture
def run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Run:
    for name in [name for name in os.environ if name.startswith(("PYTEST_", "CELERY_"))]:
        monkeypatch.delenv(name)

    def run(test: str, *args: str, conftest: str = "") -> pytest.RunResult:
        if conftest:
            pytester.makeconftest(conftest)
        pytester.makepyfile(test)
        return pytester.runpytest_subprocess(*_OTHERS, "-W", "error::pytest.PytestWarning", *args, timeout=90)

    return run


def test_eager_tasks_are_deferred_and_no_test_finds_what_another_left(run: Run) -> None:
    test = (
        _APP
        + """
app.conf.task_always_eager = True

def test_one(breakers):
    with breakers.forced("bank", "open"):
        result = charge.delay(7)
    breakers.assert_deferred(charge, args=(7,))
    breakers.trip("bank")

def test_two(breakers):
    breakers.assert_nothing_deferred()
    assert breakers.state("bank") == "closed"
    assert threading.active_count() == 1

def test_without():
    assert charge.delay(7).get() == 7
"""
    )
    run(test).assert_outcomes(passed=3)


def test_a_worker_of_celerys_own_fixtures(run: Run) -> None:
    test = """
import threading
import pytest

def test_parked_and_released(charge, celery_worker, breakers):
    with breakers.forced("bank", "open"):
        result = charge.delay(7)
        breakers.assert_deferred(charge, args=(7,), kwargs={})
    assert breakers.assert_deferred(charge).queue == "celery"
    with pytest.raises(AssertionError, match=r"charge\\(8, \\*\\*\\?\\) is not deferred, but:\\n  charge\\(7\\) by"):
        breakers.assert_deferred(charge, args=(8,), timeout=0.1)
    assert result.state == "DEFERRED"
    assert breakers.release("bank") == 1
    assert result.get(timeout=30) == 7
    with breakers.forced("bank", "open"):
        charge.delay(8)
        breakers.assert_deferred(charge, args=(8,))

def test_an_outage_and_nothing_is_left_of_the_test_before(charge, breakers, celery_worker):
    breakers.assert_nothing_deferred()
    for _ in range(2):
        with pytest.raises(OSError):
            charge.delay(-1).get(timeout=30)
    assert breakers.state("bank") == "open"
    result = charge.delay(9)
    breakers.assert_deferred("charge", args=(9,))
    breakers.clock.advance(30)
    assert breakers.state("bank") == "half_open"
    assert breakers.release("bank") == 1
    assert result.get(timeout=30) == 9
    assert breakers.state("bank") == "closed"

def test_no_thread_is_left():
    assert threading.enumerate() == [threading.main_thread()]
"""
    run(test, conftest=_IN_A_WORKER).assert_outcomes(passed=3)


def test_a_worker_of_the_whole_session(run: Run) -> None:
    test = """
import pytest
from celery_breaker import BreakerError, BreakerTask

@pytest.fixture(scope="session")
def celery_class_tasks():
    class Charge(BreakerTask):
        name = "charge"
        breaker = "bank"
        def run(self, order):
            return order
    return [Charge()]

def test_it(celery_session_app, celery_session_worker, breakers):
    charge = celery_session_app.tasks["charge"]
    with breakers.forced("bank", "open"):
        result = charge.delay(7)
        breakers.assert_deferred("charge", args=(7,))
    assert result.get(timeout=30) == 7, "its own agent releases it"
    with pytest.raises(BreakerError, match="time"):
        breakers.clock
"""
    run(test, conftest=_IN_A_WORKER).assert_outcomes(passed=1)


def test_breakers_of_several_apps_are_forced_together(run: Run) -> None:
    test = (
        _APP
        + """
other = Celery("other", broker="memory://")
other.conf.update(task_always_eager=True)
app.conf.update(task_always_eager=True)

@other.task(base=BreakerTask, breaker="bank", name="refund", shared=False)
def refund(order): ...

@pytest.fixture
def breakers_app():
    return [app, other]

def test_both(breakers):
    with breakers.forced("bank", "open"):
        charge.delay(1), refund.delay(2)
    assert [one.task.split(".")[-1] for one in breakers.deferred] == ["charge", "refund"]
    assert breakers.release("bank") == 2
"""
    )
    run(test).assert_outcomes(passed=1)


def test_nothing_is_imported_until_it_is_asked_for(run: Run) -> None:
    test = """
import sys

def test_not_yet():
    assert not {"celery", "kombu", "celery_breaker", "hypothesis"} & set(sys.modules)

def test_now(breakers):
    assert "celery_breaker" in sys.modules
    breakers.trip("any")
    assert breakers.state("any") == "open"
"""
    run(test, "-p", "no:hypothesispytest", "-p", "no:schemathesis").assert_outcomes(passed=2)


def test_it_can_be_turned_off(run: Run) -> None:
    result = run("def test_it(breakers): ...", "-p", "no:celery_breaker")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*fixture 'breakers' not found*"])


def test_a_fixture_of_the_users_of_the_same_name_wins(run: Run) -> None:
    run(
        "def test_it(breakers): assert breakers == 1", conftest="import pytest\nbreakers = pytest.fixture(lambda: 1)"
    ).assert_outcomes(passed=1)


def test_no_option_is_added(run: Run) -> None:
    assert "breaker" not in run("", "--help").stdout.str()
