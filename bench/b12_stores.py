"""Row 12: what each store costs beside its server's own round trip, and whether many processes lose an update."""

from __future__ import annotations

import time
import traceback
from collections.abc import Mapping
from contextlib import closing
from functools import partial

from bench import stores
from bench.apps import trips
from bench.pairs import Spread, interleaved, ratio, spread
from bench.rows import Row
from bench.servers import MissingServer, Servers
from bench.stores import Contender
from celery_breaker.core.record import State
from celery_breaker.core.windows import Delta, Window
from celery_breaker.testing.crew import Crew

PROCESSES = 16
CALLS = 2
"""Failing calls that each process makes through each breaker; all of them together trip it."""

MEASURES = (
    "Microseconds per call of a store, in one process, with eight workers in the window, as a multiple of its server's "
    "own round trip, measured in the same rounds through the same driver. For Redis and memcached that is one get; for "
    "a database a SELECT of one row by its key beside a read, and an UPDATE of one row by its key, committed, beside "
    "the rest; PostgreSQL and MariaDB flush commits to the disk, SQLite as the store sets it. Then 16 processes fail "
    f"at once: each makes {CALLS} failing calls through each of several breakers whose `max_failures` is that of all "
    "together. Lost are failures that the window lacks afterwards, breakers that did not trip, and trips beyond one. "
    "The message store is not here: it keeps nothing."
)


def rows(quick: bool) -> list[Row]:
    """Two rows of ratios and one of losses for each store; the memory store's microseconds, shown."""
    found = [_memory(quick)]
    crew = Crew(PROCESSES)
    with Servers() as servers, closing(crew):
        for name, start in stores.contenders(servers):
            try:
                contender = start()
                found += [*_costs(name, contender, quick), _losses(name, contender, crew, quick)]
            except MissingServer as exc:
                found.append(Row(number=12, what=name, figure="not measured", bar="", met=None, note=str(exc)))
            except Exception as exc:  # one that fails is not met, and the others go on
                traceback.print_exc()
                note = f"{type(exc).__name__}: {exc}".splitlines()[0]
                found.append(Row(number=12, what=name, figure="failed", bar="", met=False, note=note))
    return found


# --- costs ------------------------------------------------------------------------------------------------------------


def _costs(name: str, contender: Contender, quick: bool) -> list[Row]:
    with closing(contender.opener()) as store:
        work = dict(stores.operations(store))
        bare = contender.bare(store)
        figures = _measured({**work, "bare read": bare.read, "bare write": bare.write}, quick)
    ratios = {what: ratio(figures[what], figures["bare read" if "read" in what else "bare write"]) for what in work}
    return [
        Row(
            number=12,
            what=f"a tally ÷ a bare round trip, {name}",
            figure=f"{ratios['tally']:.2f}",
            bar=f"≤ {contender.bar:g}" if contender.bar else "",
            met=ratios["tally"].median <= contender.bar if contender.bar else None,
            note=f"{_each(figures)} µs",
        ),
        Row(
            number=12,
            what=f"other calls ÷ a bare round trip, {name}",
            figure="; ".join(f"{what} {found:.2f}" for what, found in ratios.items() if what != "tally"),
            bar="",
            met=None,
        ),
    ]


def _memory(quick: bool) -> Row:
    spreads = _measured(stores.operations(stores.memory()), quick)
    return Row(number=12, what="µs per call, memory", figure=_each(spreads), bar="", met=None)


def _measured(work: Mapping[str, stores.Operation], quick: bool) -> dict[str, list[float]]:
    """Microseconds of each, by round."""
    count = 20 if quick else 200
    arms = {what: partial(stores.microseconds, operation, count) for what, operation in work.items()}
    interleaved(arms, rounds=1)
    return interleaved(arms, rounds=3 if quick else 9)


def _each(figures: Mapping[str, list[float]]) -> str:
    return ", ".join(f"{what} {_median(spread(found))}" for what, found in figures.items())


def _median(found: Spread) -> str:
    return f"{found.median:.0f}" if found.median >= 10 else f"{found.median:.1f}"


# --- losses -----------------------------------------------------------------------------------------------------------


def _losses(name: str, contender: Contender, crew: Crew, quick: bool) -> Row:
    breakers = 3 if quick else 20
    failures = PROCESSES * CALLS
    with closing(contender.opener()) as store:
        names = [trips.name(number) for number in range(breakers)]
        store.now()
        started = time.monotonic()
        won = sum(crew.run(contender.opener, trips.fail, breakers, CALLS, failures))
        took = time.monotonic() - started
        window = Window(span=3600.0)
        counted = sum(store.tally(each, Delta(), window, generation=0, worker="").failures for each in names)
        records = store.read(names).records.values()
    lost = failures * breakers - counted
    still = sum(record.state is not State.OPEN for record in records)
    more = won - (breakers - still)
    return Row(
        number=12,
        what=f"lost updates, {PROCESSES} processes failing at once, {name}",
        figure=f"{lost + still + abs(more)}",
        bar="0",
        met=lost == still == more == 0,
        note=f"{counted} failures, {breakers - still} of {breakers} tripped, {won} trips won, in {took:.1f} s",
    )
