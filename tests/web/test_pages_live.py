"""What an open page is sent: the whole of it first, and then only what is new."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlsplit

import pytest

from celery_breaker.clock import ManualClock
from celery_breaker.core.record import Mode
from celery_breaker.status import actions
from celery_breaker.status.sampler import Seen
from celery_breaker.web.drawing import Drawing
from celery_breaker.web.live import Channels
from tests.engine.world import fail, succeed
from tests.status.desks import QUICK, Declared
from tests.web.desks import Room, room
from tests.web.listening import Listener


class Watcher(Listener):
    """A page that is open at this address, and its event stream."""

    def __init__(self, at: Room, address: str) -> None:
        parts = urlsplit(address)
        super().__init__(_with_query(at.app, parts.query), path=f"/{parts.path}")

    async def news(self) -> Any:
        kind, data = await self.event()
        assert kind == "page"
        return data


def _with_query(app: Any, query: str) -> Any:
    async def asked(scope: Any, receive: Any, send: Any) -> None:
        await app({**scope, "query_string": query.encode()}, receive, send)

    return asked


def watching(at: Room, address: str, then: Callable[[Watcher], Awaitable[None]]) -> None:
    """Open a page, and do that while it is open."""

    async def body() -> None:
        async with Watcher(at, address) as page:
            await then(page)

    asyncio.run(body())


@pytest.fixture
def at() -> Room:
    return room(declared=Declared(declared={f"svc-{number:03}": QUICK for number in range(250)}))


def test_first_comes_the_whole_page_and_then_only_rows_that_changed(at: Room) -> None:
    async def body(page: Watcher) -> None:
        first = await page.news()
        assert list(first["rows"]) == first["order"] == [f"svc-{number:03}" for number in range(200)]
        assert set(first["parts"]) == {"banners", "summary", "pager"}
        at.sampler.look()
        await page.news()  # to all who listen, once, for the first of them
        fail(at.at.registry, 3, "svc-007")
        at.sampler.look()
        news = await page.news()
        assert list(news["rows"]) == ["svc-007"]
        assert news["order"][0] == "svc-007"
        assert set(news["parts"]) == {"summary"}
        assert (news["title"], news["say"]) == ("(1) Breakers", "svc-007 is open")

    watching(at, "live", body)


def test_what_happens_right_after_a_page_was_opened_is_spoken_too(at: Room) -> None:
    async def body(page: Watcher) -> None:
        await page.news()
        fail(at.at.registry, 3, "svc-007")
        at.sampler.look()
        assert (await page.news())["say"] == "svc-007 is open"

    watching(at, "live", body)


def test_a_list_that_is_empty_is_said_to_be(at: Room) -> None:
    async def body(page: Watcher) -> None:
        news = await page.news()
        assert (news["order"], "rows" in news) == ([], False)

    watching(at, "live?state=open", body)


def test_while_nothing_changes_nothing_is_sent(at: Room) -> None:
    async def body(page: Watcher) -> None:
        await page.news()
        at.sampler.look()
        await page.news()
        for _ in range(8):
            at.at.clock.advance(1)
            at.sampler.look()
        at.at.desk.act("svc-003", actions.force(Mode.FORCED_OPEN, by="eve"))
        at.sampler.look()
        assert list((await page.news())["rows"]) == ["svc-003"]

    watching(at, "live", body)


def test_a_page_hears_of_what_its_filter_shows_only(at: Room) -> None:
    async def body(page: Watcher) -> None:
        assert (await page.news())["order"] == ["svc-033", "svc-133", "svc-233"]
        at.sampler.look()
        await page.news()
        fail(at.at.registry, 3, "svc-007")
        at.sampler.look()
        news = await page.news()
        assert "rows" not in news
        assert "say" not in news
        fail(at.at.registry, 3, "svc-133")
        at.sampler.look()
        assert (await page.news())["order"] == ["svc-133", "svc-033", "svc-233"]

    watching(at, "live?q=33", body)


def test_the_page_of_one_breaker_is_sent_its_story(at: Room) -> None:
    async def body(page: Watcher) -> None:
        assert set((await page.news())["parts"]) >= {"head", "charts", "timeline", "failures", "failing"}
        at.sampler.look()
        await page.news()
        at.at.clock.advance(1)
        fail(at.at.registry, 3, "svc-001")
        at.sampler.look()
        parts = (await page.news())["parts"]
        assert "3 of 3 calls failed" in parts["head"]
        assert "opened" in parts["timeline"]
        assert "ConnectionError()" in parts["failures"]

    watching(at, "live?view=breaker&name=svc-001", body)


def test_a_breaker_that_is_forgotten_meanwhile_is_said_to_be_gone(at: Room) -> None:
    fail(at.at.registry, 1, "webhook:x")
    at.at.desk.act("webhook:x", actions.force(Mode.DISABLED, by="eve"))
    at.sampler.look()

    async def body(page: Watcher) -> None:
        await page.news()
        at.at.registry.forget("webhook:x")
        at.sampler.look()
        assert "Its record is gone" in (await page.news())["parts"]["head"]

    watching(at, "live?view=breaker&name=webhook:x", body)


def test_when_the_store_goes_away_the_page_hears_of_it(at: Room) -> None:
    async def body(page: Watcher) -> None:
        await page.news()
        at.sampler.look()
        await page.news()
        at.at.server.down = True
        at.sampler.look()
        news = await page.news()
        assert "The store is away" in news["parts"]["banners"]
        assert news["say"] == "the store is away"

    watching(at, "live?view=workers", body)


def test_fifty_pages_cost_the_store_no_more_than_one(at: Room) -> None:
    succeed(at.at.registry, 3, "svc-001")

    async def commands(pages: int) -> int:
        watchers = [Watcher(at, "live?view=breaker&name=svc-001") for _ in range(pages)]
        for watcher in watchers:
            await watcher.__aenter__()
            await watcher.news()
        at.at.clock.advance(20)
        at.at.server.calls.clear()
        at.sampler.look()
        for watcher in watchers:
            await watcher.news()
        found = len(at.at.server.calls)
        for watcher in watchers:
            await watcher.__aexit__()
        return found

    assert asyncio.run(commands(50)) <= asyncio.run(commands(1))


def test_streams_that_nobody_listens_to_are_let_go_after_a_while(at: Room) -> None:
    clock = ManualClock()
    console = at.app.state.console
    channels, before = Channels(console, clock=clock), len(console.farewells)

    def nothing(seen: Seen) -> Drawing:
        return Drawing(title="", parts={})

    for key in range(20):
        channels.response(key, nothing)
    assert len(channels) == 20
    clock.advance(61)
    channels.response(7, nothing)
    assert len(channels) == 1
    assert len(console.farewells) == before + 1
