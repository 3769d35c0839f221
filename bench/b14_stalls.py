"""Row 14: how late an event loop is while the store of its breakers hangs."""

from __future__ import annotations

import anyio

from bench.rows import Row
from bench.servers import Servers
from celery_breaker.core.record import State
from celery_breaker.engine.default import registry_at
from tests.support.stalls import STALL, Lateness, blocking, while_store_hangs

MEASURES = (
    "Eight tasks call through `async with Breaker(…)` under asyncio while the Redis that keeps the breaker is stopped "
    "(SIGSTOP); a ninth sleeps for a millisecond over and over and notes by how much more it slept. Every quarter of a "
    "second the breaker is left out, and back in: the figure is how many more sleeps were late with it than without, "
    "with three standard deviations of that number if it were noise alone. The store's timeout is one second, so "
    "whoever waits for it holds up the loop that long; what the detector says then is shown with the plain `with`, "
    "which waits for a half-open permit."
)

HANG = 0.25
"""Seconds, beyond the machine's own worst: less than any wait for the store, and more than a process is put aside."""


def rows(quick: bool) -> list[Row]:
    """A row for each state, and what the detector says of blocking calls."""
    seconds = 2.0 if quick else 20.0
    with Servers() as servers:
        server = servers.redis()
        try:
            found = {
                state: anyio.run(lambda s=state: while_store_hangs(s, server, seconds=seconds))  # type: ignore[misc]
                for state in State
            }
            blocked = anyio.run(lambda: while_store_hangs(State.HALF_OPEN, server, seconds=seconds, call=blocking))
        finally:
            registry_at(server.url).close()  # before its Redis ends
    return [*(_row(state, lateness) for state, lateness in found.items()), _control(blocked)]


def _row(state: State, found: Lateness) -> Row:
    return Row(
        number=14,
        what=f"stalls of the event loop over {STALL * 1e3:.0f} ms, store stopped, {_word(state)}",
        figure=f"{found.stalls} ± {found.doubt:.0f}",
        bar=f"0, and none over {HANG * 1e3:.0f} ms",
        met=found.stalls <= found.doubt and found.worst < HANG,
        note=f"{found.sides}; {found.calls}",
    )


def _control(found: Lateness) -> Row:
    what = "the same, half-open, with calls that block"
    return Row(number=14, what=what, figure=f"{found.stalls} ± {found.doubt:.0f}", bar="", met=None, note=found.sides)


def _word(state: State) -> str:
    return str(state).replace("_", "-")
