"""What every page and route of one dashboard works with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from starlette.concurrency import run_in_threadpool
from starlette.requests import HTTPConnection

from celery_breaker.status import Desk
from celery_breaker.status.sampler import Sampler, Seen
from celery_breaker.web.options import WebOptions

__all__ = ["Console", "console_of"]


@dataclass(slots=True, kw_only=True)
class Console:
    """A desk, the sampler that looks at it, and the options. Kept as ``app.state.console``.

    Attributes:
        owned: the sampler is this dashboard's, which starts and stops it.
        farewells: called as the server goes down, so that streams end; from the event loop.

    Example:
        What the dashboard saw last::

            create_app(current_desk()).state.console.sampler.seen.statuses
    """

    desk: Desk
    sampler: Sampler
    options: WebOptions
    owned: bool = True
    farewells: list[Callable[[], object]] = field(default_factory=list)

    def wake(self) -> None:
        """Start the sampler unless it runs: an app that is mounted may never be told that it starts."""
        if self.owned:
            self.sampler.start()

    def close(self) -> None:
        """Stop the sampler, if it is this dashboard's. Waits for its last look."""
        if self.owned:
            self.sampler.stop()

    def farewell(self) -> None:
        """End all streams; call it from the event loop that serves them."""
        for goodbye in self.farewells:
            goodbye()

    async def seen(self) -> Seen:
        """What was seen last; waits for the first look."""
        seen = self.sampler.seen
        return seen if seen.number else await run_in_threadpool(self.sampler.first)


def console_of(connection: HTTPConnection) -> Console:
    """The console of the dashboard that answers this request."""
    console = connection.app.state.console
    assert isinstance(console, Console)
    return console
