"""The event streams of pages: one for each thing that is watched, however many watch it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable

from starlette.responses import Response

from celery_breaker.clock import Clock, monotonic
from celery_breaker.status.sampler import Seen
from celery_breaker.web.console import Console
from celery_breaker.web.drawing import Drawing, Trace
from celery_breaker.web.stream import Stream, event

__all__ = ["Channels"]

Draw = Callable[[Seen], Drawing]
"""Draws a page from what was seen."""


_IDLE = 60.0
"""Seconds after which a stream is let go that nobody asked for and nobody listens to."""


class Channels:
    """Streams by what they show; one that nobody listens to any more is let go. Thread-safe."""

    def __init__(self, console: Console, *, clock: Clock = monotonic) -> None:
        self._console = console
        self._clock = clock
        self._lock = threading.Lock()
        self._streams: dict[Hashable, Stream] = {}
        self._asked: dict[Hashable, float] = {}

    def __len__(self) -> int:
        return len(self._streams)

    def response(self, key: Hashable, draw: Draw) -> Response:
        """An answer that tells what is new on the page that ``draw`` draws; ``key`` is equal for equal pages."""
        with self._lock:
            self._asked[key] = self._clock()
            self._tidy()
            stream = self._streams.get(key)
            if stream is None:
                news = _News(self._console, draw)
                stream = self._streams[key] = Stream(self._console, render=news.render, greet=news.greet)
        return stream.response()

    def _tidy(self) -> None:
        for key, stream in list(self._streams.items()):
            if not stream.listeners and self._clock() - self._asked[key] > _IDLE:
                del self._streams[key], self._asked[key]
                self._console.farewells.remove(stream.close)


class _News:
    """What a stream says. A newcomer gets the whole page; after that all get what changed since the look before."""

    def __init__(self, console: Console, draw: Draw) -> None:
        self._console = console
        self._draw = draw
        self._trace = Trace()
        self._number = -1

    def greet(self, seen: Seen) -> str:
        """See `Stream`."""
        return self._event(Trace(), seen)

    def render(self, before: Seen, seen: Seen) -> str:
        """See `Stream`."""
        if self._number != before.number:  # nobody listened meanwhile, so nobody has what was sent last
            self._trace = Trace(self._draw(before).looks)
        self._number = seen.number
        return self._event(self._trace, seen)

    def _event(self, trace: Trace, seen: Seen) -> str:
        found = trace.new(self._draw(seen), self._console.desk.registry.link.now())
        return event("page", found, number=seen.number) if found else ""
