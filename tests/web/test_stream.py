"""Server-sent events: one rendering for all, and no client that holds up another."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from celery_breaker.status.sampler import Seen
from celery_breaker.web.stream import Stream, event
from tests.engine.world import fail
from tests.web.desks import Room, room
from tests.web.listening import PATIENCE, Listener


def live(test: Callable[[Room], Coroutine[Any, Any, None]]) -> None:
    """Run with a room, against a deadline."""
    asyncio.run(asyncio.wait_for(test(room()), 3 * PATIENCE))


async def look(here: Room) -> None:
    """As the sampler does: in another thread than the clients'."""
    await asyncio.to_thread(here.sampler.look)


def streaming(here: Room, **how: Any) -> tuple[Stream, Callable[[Any, Any, Any], Awaitable[None]]]:
    """One more stream of a room, at ``/mine``."""
    stream = Stream(here.app.state.console, **how)

    async def mine(request: Request) -> Response:
        return stream.response()

    here.app.router.routes.append(Route("/mine", mine))
    return stream, here.app


def test_who_listens_hears_of_what_changed_and_of_nothing_else() -> None:
    async def listens(here: Room) -> None:
        async with Listener(here.app) as heard:
            assert await heard.event() == ("hello", {"number": 1, "at": 1_000_000.0, "error": "", "breakers": 2})
            here.at.clock.advance(1)
            await look(here)
            fail(here.at.registry, 3)
            await look(here)
            kind, data = await heard.event()
            assert (kind, data["number"], [status["name"] for status in data["changed"]]) == ("look", 3, ["smtp"])
            assert data["changed"][0] == here.sampler.seen.statuses["smtp"].as_dict()

    live(listens)


def test_headers_keep_proxies_from_holding_events_back() -> None:
    async def listens(here: Room) -> None:
        async with Listener(here.app) as heard:
            await heard.event()
            headers = {name.decode(): value.decode() for name, value in heard.start["headers"]}
            assert headers["content-type"].startswith("text/event-stream")
            assert headers["cache-control"] == "no-store"
            assert headers["x-accel-buffering"] == "no"
            assert "content-length" not in headers

    live(listens)


def test_a_breaker_that_went_away_and_a_store_that_did_are_told() -> None:
    async def listens(here: Room) -> None:
        fail(here.at.registry, 3, "webhook:a")
        await look(here)
        async with Listener(here.app) as heard:
            await heard.event()
            here.at.registry.forget("webhook:a")
            await look(here)
            assert (await heard.event())[1]["gone"] == ["webhook:a"]
            here.at.server.down = True
            await look(here)
            assert (await heard.event())[1]["error"]

    live(listens)


def test_last_event_id_changes_nothing() -> None:
    async def listens(here: Room) -> None:
        for number in ("1", "-1", "x" * 1000):
            async with Listener(here.app, headers={"Last-Event-ID": number}) as heard:
                assert (await heard.event())[0] == "hello"

    live(listens)


def test_one_look_is_rendered_once_for_all_and_not_at_all_for_nobody() -> None:
    async def listens(here: Room) -> None:
        rendered: list[int] = []

        def render(before: Seen, seen: Seen) -> str:
            rendered.append(seen.number)
            return event("look", str(seen.number))

        stream, app = streaming(here, render=render)
        await look(here)
        assert rendered == []
        async with Listener(app, "/mine") as one, Listener(app, "/mine") as other:
            await one.chunk()
            await other.chunk()  # both have joined
            await look(here)
            assert [(await client.event())[1] for client in (one, other)] == [3, 3]
        assert rendered == [3]
        assert stream.listeners == 0
        await look(here)
        assert rendered == [3]

    live(listens)


def test_a_silent_stream_says_that_it_lives() -> None:
    async def listens(here: Room) -> None:
        _, app = streaming(here, render=lambda before, seen: "", heartbeat=0.01)
        async with Listener(app, "/mine") as heard:
            assert [(await heard.chunk())[0] for _ in range(3)] == [":", ":", ":"]

    live(listens)


def test_a_client_that_takes_nothing_is_dropped_and_others_hear_on() -> None:
    async def listens(here: Room) -> None:
        stream, app = streaming(here, render=lambda before, seen: event("look", str(seen.number)), backlog=2)
        async with Listener(app, "/mine") as slow, Listener(app, "/mine") as quick:
            await slow.chunk()
            await quick.chunk()
            slow.slow()
            for number in range(2, 8):
                await look(here)
                assert (await quick.event())[1] == number
            await slow.until_ended()
            assert not slow.ended.is_set()  # cut off: it was not told to the end
            assert stream.listeners == 1

    live(listens)


def test_a_server_that_goes_down_ends_its_streams() -> None:
    async def listens(here: Room) -> None:
        async with Listener(here.app) as heard:
            await heard.event()
            here.app.state.console.farewell()
            await heard.until_ended()
            assert heard.ended.is_set()

    live(listens)


def test_a_renderer_that_fails_hurts_nobody() -> None:
    async def listens(here: Room) -> None:
        def broken(before: Seen, seen: Seen) -> str:
            raise RuntimeError("as the test says")

        _, app = streaming(here, render=broken)
        async with Listener(app, "/mine") as heard, Listener(here.app) as other:
            await heard.chunk()
            await other.event()
            fail(here.at.registry, 3)
            await look(here)
            assert (await other.event())[0] == "look"

    live(listens)


def test_who_asks_for_the_head_is_not_kept_waiting() -> None:
    answer = room().client.head("/events")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/event-stream; charset=utf-8")


def test_data_of_several_lines_stays_one_event() -> None:
    assert event("page", "a\nb") == "event: page\ndata: a\ndata: b\n\n"
    assert event("page", "", number=3) == "id: 3\nevent: page\ndata: \n\n"
