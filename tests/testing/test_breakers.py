"""Breakers in the hands of a test: forced, tripped, looked at, and put back."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading

import pytest
from celery import Celery

from celery_breaker import Breaker, BreakerError, BreakerOpen, BreakerTask, ConfigurationError, Mode, Policy
from celery_breaker.engine import default, stage
from celery_breaker.errors import UnknownBreakerError
from celery_breaker.plugin.app import breakers_of
from celery_breaker.testing import Breakers, attached, forced, in_memory
from tests.testing.conftest import make_app


@pytest.fixture
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where there is no app."""
    monkeypatch.setattr(default, "_provider", None)
    monkeypatch.setattr(stage, "_finder", None)


@pytest.mark.parametrize(("word", "state", "mode"), [
    ("open", "open", "forced_open"), ("disabled", "closed", "disabled"), ("observing", "closed", "observing"),
    ("closed", "closed", "auto"), ("half_open", "half_open", "auto"),
])  # fmt: skip
def test_a_breaker_is_forced_and_put_back(memory: Breakers, word: str, state: str, mode: str) -> None:
    with memory.forced("bank", word):
        assert (memory.state("bank"), memory.mode("bank")) == (state, mode)
    assert (memory.state("bank"), memory.mode("bank")) == ("closed", "auto")


def test_an_open_breaker_is_open_again_after_it_was_forced_closed(memory: Breakers) -> None:
    memory.trip("bank")
    with memory.forced("bank", "closed"):
        assert memory.state("bank") == "closed"
    assert memory.state("bank") == "open"
    memory.clock.advance(30)
    assert memory.state("bank") == "half_open"


def test_it_is_put_back_when_the_test_fails(memory: Breakers) -> None:
    with pytest.raises(ZeroDivisionError), memory.forced("bank", "open"):
        raise ZeroDivisionError
    assert memory.mode("bank") is Mode.AUTO


def test_of_forced_states_within_each_other_each_ends_with_its_block(memory: Breakers) -> None:
    with memory.forced("bank", "open"):
        with memory.forced("bank", "disabled"), memory.forced("mail", "open"):
            assert (memory.mode("bank"), memory.state("mail")) == ("disabled", "open")
        assert (memory.mode("bank"), memory.state("mail")) == ("forced_open", "closed")
    assert memory.mode("bank") is Mode.AUTO


def test_what_the_code_under_test_says_meanwhile_stays(app: Celery, memory: Breakers) -> None:
    with memory.forced("bank", "open"):
        breakers_of(app).desk.registry.refresh(["bank"])
        Breaker("bank", store=breakers_of(app).registry.link.shared).disable(reason="by an operator")
    assert memory.mode("bank") is Mode.DISABLED


def test_the_wrong_words_name_the_right_ones(memory: Breakers) -> None:
    with pytest.raises(UnknownBreakerError, match="no breaker 'bnak' is declared or in use; did you mean 'bank'"):
        memory.forced("bnak", "open").__enter__()
    with pytest.raises(ConfigurationError, match="cannot be forced 'opne'; did you mean 'open'"):
        memory.forced("bank", "opne").__enter__()
    with pytest.raises(ConfigurationError, match="did you mean 'half_open'"):
        forced("bank", "halfopen")
    with pytest.raises(UnknownBreakerError, match="'bnak'"):
        memory.trip("bnak")
    with pytest.raises(UnknownBreakerError, match="'bnak'"):
        memory.release("bnak")
    with pytest.raises(ConfigurationError, match="is no Celery app"):
        in_memory("shop").__enter__()


def test_a_half_open_breaker_trips_as_by_a_failed_probe(memory: Breakers) -> None:
    memory.trip("bank")
    memory.clock.advance(30)
    memory.trip("bank")
    memory.clock.advance(30)
    assert memory.state("bank") == "open", "the second interval is longer"
    memory.clock.advance(30)
    assert memory.state("bank") == "half_open"


def test_a_breaker_in_code_is_in_memory_too(app: Celery, memory: Breakers) -> None:
    app.set_current()
    try:
        bank = Breaker("bank")
        with memory.forced("bank", "open"), pytest.raises(BreakerOpen):
            bank.call(len, "four")
        for _ in range(2):
            with pytest.raises(OSError, match="down"), bank:
                raise OSError("down")
        assert memory.state("bank") == "open"
    finally:
        make_app("default").set_current()


def test_apps_share_their_breakers_in_memory_and_are_put_back(app: Celery) -> None:
    other = make_app("other")

    @other.task(shared=False, base=BreakerTask, breaker="bank", name="refund")
    def refund() -> None: ...

    with in_memory(app, other) as breakers:
        with breakers.forced("bank", "open"):
            assert refund.delay().state == "DEFERRED"
        breakers.assert_deferred("refund")
        assert not breakers_of(other).registry.link.shared.url.startswith("redis")
    assert not breakers_of(app).rehearsed
    assert not breakers_of(other).rehearsed


def test_nothing_is_left_for_the_next_test(app: Celery) -> None:
    @app.task(shared=False, base=BreakerTask, breaker="bank", name="charge")
    def charge() -> None: ...

    before = threading.active_count()
    for _ in range(2):
        with in_memory(app) as breakers:
            assert breakers.state("bank") == "closed"
            breakers.assert_nothing_deferred()
            breakers.trip("bank")
            charge.delay()
            breakers.assert_deferred(charge)
            assert threading.active_count() == before


def test_a_failed_assertion_tells_what_is_there(app: Celery, memory: Breakers) -> None:
    @app.task(shared=False, base=BreakerTask, breaker="bank", name="charge")
    def charge(order: int, note: str = "") -> None: ...

    with pytest.raises(AssertionError, match=r"^charge\(7, \*\*\?\) is not deferred, but:\n  nothing$"):
        memory.assert_deferred(charge, args=(7,))
    with memory.forced("bank", "open"):
        charge.delay(1, note="x")
    with pytest.raises(
        AssertionError, match=r"charge by breaker 'mail' is not deferred, but:\n  charge\(1, note='x'\) by"
    ):
        memory.assert_deferred(charge, breaker="mail")
    with pytest.raises(
        AssertionError, match=r"nothing should be deferred, but:\n  charge\(1, note='x'\) by breaker 'bank'"
    ):
        memory.assert_nothing_deferred()
    assert [str(one) for one in memory.deferred] == ["charge(1, note='x') by breaker 'bank'"]


def test_forced_decorates_functions_and_coroutine_functions(app: Celery, memory: Breakers) -> None:
    @forced("bank", "open", app=app)
    def plainly(word: str) -> tuple[str, str]:
        return word, str(memory.state("bank"))

    @forced("bank", "open", app=app)
    async def slowly() -> str:
        await asyncio.sleep(0)
        return str(memory.state("bank"))

    for _ in range(2):
        assert plainly("word") == ("word", "open")
        assert asyncio.run(slowly()) == "open"
        assert memory.state("bank") == "closed"


@pytest.mark.usefixtures("plain")
def test_without_an_app_the_breakers_of_this_process_are_meant() -> None:
    lonely = Breaker("lonely", policy=Policy(max_failures=1))
    assert lonely.call(len, "four") == 4
    with forced("lonely", "open"), pytest.raises(BreakerOpen):
        lonely.call(len, "four")
    with in_memory() as breakers:
        with pytest.raises(OSError, match="down"), lonely:
            raise OSError("down")
        assert breakers.state("lonely") == "open"
        breakers.clock.advance(30)
        assert lonely.call(len, "four") == 4
        assert breakers.state("lonely") == "closed"
        breakers.trip("lonely")
    assert lonely.call(len, "four") == 4
    default.forget("memory://")


@pytest.mark.usefixtures("plain")
def test_asynchronous_code_is_in_memory_too() -> None:
    lonely = Breaker("lonely-async")

    async def service() -> int:
        return 4

    async def calls() -> tuple[str, int, str]:
        with forced("lonely-async", "open"), pytest.raises(BreakerOpen):
            await lonely.acall(service)
        breakers.trip("lonely-async")
        breakers.clock.advance(30)
        probed = await lonely.acall(service)
        return "refused", probed, str(breakers.state("lonely-async"))

    with in_memory() as breakers:
        assert asyncio.run(calls()) == ("refused", 4, "closed")


def test_time_cannot_be_turned_where_breakers_are_shared(app: Celery) -> None:
    with attached(app) as breakers, pytest.raises(BreakerError, match="only in memory can time be turned"):
        breakers.clock.advance(1)


def test_a_store_out_of_reach_is_said(app: Celery) -> None:
    with pytest.raises(BreakerError, match="out of reach"), forced("bank", "open", app=app):
        raise AssertionError("never entered")


def test_importing_it_imports_no_tool_of_tests() -> None:
    code = "import sys, celery_breaker.testing; print(sorted({'pytest', '_pytest', 'hypothesis'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
