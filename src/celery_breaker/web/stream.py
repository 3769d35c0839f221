"""Server-sent events: what is new is rendered once for each look, whoever many listen."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from celery_breaker.status.sampler import Seen
from celery_breaker.web.console import Console

__all__ = ["Render", "Stream", "event"]

Render = Callable[[Seen, Seen], str]
"""Events, see `event`, for what changed from one look to the next; empty if nothing did. Runs in a thread, so it may
take its time, and once for all who listen."""

_PING = b": still here\n\n"


def event(kind: str, data: str, *, number: int | None = None) -> str:
    r"""One event. ``data`` may have several lines.

    Example:
        >>> event("look", '{"a":1}', number=7)
        'id: 7\nevent: look\ndata: {"a":1}\n\n'
    """
    lines = [] if number is None else [f"id: {number}"]
    lines += [f"event: {kind}", *(f"data: {line}" for line in data.splitlines() or [""])]
    return "\n".join(lines) + "\n\n"


class Stream:
    """A source of events to which any number of clients listens. Thread-safe.

    A client that takes its events too slowly is dropped; it comes back by itself, as browsers do.

    Args:
        greet: what a client is told first, made from what was seen last.
        render: what all are told after each look.
        heartbeat: seconds after which a silent stream says that it lives, so that no proxy cuts it.
        backlog: events that may wait for a client.

    Example:
        A route that tells pages to look again::

            stream = Stream(console, render=lambda before, seen: event("look", str(seen.number)))
            Route("/events", lambda request: stream.response())
    """

    def __init__(
        self,
        console: Console,
        *,
        render: Render,
        greet: Callable[[Seen], str] = lambda seen: "",
        heartbeat: float = 15.0,
        backlog: int = 16,
    ) -> None:
        self._sampler = console.sampler
        self._render = render
        self._greet = greet
        self._heartbeat = heartbeat
        self._backlog = backlog
        self._lock = threading.Lock()
        self._clients: set[_Client] = set()
        self._before = Seen()
        self._unlisten: Callable[[], None] | None = None
        console.farewells.append(self.close)

    @property
    def listeners(self) -> int:
        """How many clients listen now."""
        return len(self._clients)

    def response(self) -> Response:
        """The answer to one client, which ends when it leaves."""
        return _Answer(self)

    def close(self) -> None:
        """Send all clients away; call it from their event loop."""
        for client in list(self._clients):
            client.end()

    def join(self) -> _Client:
        """One more client, of the running event loop."""
        client = _Client(asyncio.get_running_loop(), self._backlog)
        with self._lock:
            if self._unlisten is None:
                self._before = self._sampler.seen
                self._unlisten = self._sampler.listen(self._looked)
            self._clients.add(client)
        return client

    def leave(self, client: _Client) -> None:
        """One less."""
        with self._lock:
            self._clients.discard(client)
            if not self._clients and self._unlisten is not None:
                self._unlisten()
                self._unlisten = None

    def _looked(self, seen: Seen) -> None:
        before, self._before = self._before, seen
        if text := self._render(before, seen):
            data = text.encode()
            for client in list(self._clients):
                client.offer(data)

    async def serve(self, client: _Client, send: Send) -> None:
        """Pass on events until cancelled."""
        first = await asyncio.to_thread(self._greet, self._sampler.seen)
        await _send(send, first.encode() or _PING)
        while True:
            try:
                data = await asyncio.wait_for(client.events.get(), self._heartbeat)
            except asyncio.TimeoutError:
                data = _PING
            await _send(send, data)


class _Client:
    """Events on their way to one client."""

    def __init__(self, loop: asyncio.AbstractEventLoop, backlog: int) -> None:
        self.loop = loop
        self.events: asyncio.Queue[bytes] = asyncio.Queue(maxsize=backlog)
        self.ended = asyncio.Event()

    def offer(self, data: bytes) -> None:
        """One more event, from any thread."""
        try:
            self.loop.call_soon_threadsafe(self._take, data)
        except RuntimeError:  # its loop is closed, and so is the connection
            return

    def _take(self, data: bytes) -> None:
        try:
            self.events.put_nowait(data)
        except asyncio.QueueFull:
            self.end()

    def end(self) -> None:
        """No more for this one."""
        self.ended.set()


class _Answer(Response):
    """Serves one client until it leaves, is too slow, or the server goes down."""

    def __init__(self, stream: Stream) -> None:
        super().__init__(media_type="text/event-stream", headers={"X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._stream = stream

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        if scope["method"] == "HEAD":
            await send({"type": "http.response.body", "body": b""})
            return
        client = self._stream.join()
        serving = asyncio.ensure_future(self._stream.serve(client, send))
        others = [asyncio.ensure_future(client.ended.wait()), asyncio.ensure_future(_gone(receive))]
        try:
            await asyncio.wait([serving, *others], return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._stream.leave(client)
            for task in (serving, *others):
                task.cancel()
            await asyncio.gather(serving, *others, return_exceptions=True)
        if client.ended.is_set() and not client.events.full():
            await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _send(send: Send, data: bytes) -> None:
    await send({"type": "http.response.body", "body": data, "more_body": True})


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
