"""A few workers, one breaker, and every order in which their small steps can happen: the model of `test_exhaustive`.

What decides is the real core. Around it is the least that a store does (compare-and-set by version, leases, a window
per generation) and what a worker does between two round trips: read, half-open, lease a permit, call, settle with a
view that may be old by now, give the permit back, vanish. A step is one round trip, so any two workers can be anywhere
relative to each other. A call that ended and is not settled yet is one still under way: nobody could tell them apart.

Scenes are compared after what cannot matter has been taken out: time is counted from now, generations from the present
one, versions by whether a view is the present one, and workers have no names. The back-off is constant here, so that
there are finitely many scenes; how it grows is the business of `test_backoff` and `test_machine_properties`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

from celery_breaker.core import machine
from celery_breaker.core.machine import Admission
from celery_breaker.core.policy import Policy
from celery_breaker.core.record import Record, State
from celery_breaker.core.windows import Totals
from tests.core.following import LEGAL

__all__ = ["PRESENT", "TICK", "Fleet", "Kind", "Move", "Scene", "Seen", "Violation", "Worker"]

NOW = 1000.0
PRESENT, _ITS_VIEW_S, _OVER = 50, 1, 0
"""Generations, once renamed: the store's; one that only this worker's view still has; one that nobody has."""


class Seen(NamedTuple):
    """Of a record, what a step may depend on. ``left`` is how long it stays open, in ticks."""

    state: State
    generation: int
    left: int = 0
    successes: int = 0


class Worker(NamedTuple):
    """One process with at most one call.

    Attributes:
        view: the record as it last read it; ``None`` while that is the store's.
        phase: ``idle``, ``call`` (under way), ``trip`` (counted, and the window is full), ``free`` (settled, and the
            permit is to be given back).
        generation: the ticket's.
        lease: ticks that the permit is still leased; ``None`` without a permit.
    """

    view: Seen | None = None
    phase: str = "idle"
    generation: int = 0
    lease: int | None = None


class Scene(NamedTuple):
    """Everything at one moment.

    Attributes:
        window: the generation that is counted, and its failures, no more than it takes to trip.
        orphans: (generation, ticks left) of permits whose holders vanished.
    """

    store: Seen
    workers: tuple[Worker, ...]
    window: tuple[int, int] = (0, 0)
    orphans: tuple[tuple[int, int], ...] = ()


class Kind(NamedTuple):
    """What happened: a name, and whether it needs the service to fail or somebody to vanish."""

    name: str
    bad: bool = False


class Move(NamedTuple):
    kind: Kind
    after: Scene


TICK, READ, HALF_OPEN, START = Kind("tick"), Kind("read"), Kind("half-open"), Kind("start")
ENDS_WELL, FAILS, IS_CANCELLED = Kind("ends well"), Kind("fails", bad=True), Kind("is cancelled", bad=True)
TRIP, FREE = Kind("trip"), Kind("free")
VANISHES, CLOSED_BY_HAND = Kind("vanishes", bad=True), Kind("closed by hand", bad=True)


class Violation(AssertionError):
    """A promise was broken; the message says which, between what."""


@dataclass(frozen=True)
class Fleet:
    """The world's constants. Lengths of time are in ticks."""

    permits: int = 1
    threshold: int = 1
    failures: int = 1
    interval: int = 1
    lease: int = 2

    @property
    def policy(self) -> Policy:
        return _policy(self.failures, self.interval, self.permits, self.threshold)

    def begin(self, workers: int) -> Scene:
        return Scene(Seen(State.CLOSED, PRESENT), (Worker(),) * workers, (PRESENT, 0))

    def moves(self, scene: Scene) -> Iterator[Move]:
        """All that can happen next."""
        yield Move(TICK, _renamed(_tick(scene)))
        if scene.store.state is not State.CLOSED:
            yield Move(CLOSED_BY_HAND, _renamed(_written(scene, _closed_by_hand(scene.store), None)))
        done: set[Worker] = set()
        for place, worker in enumerate(scene.workers):
            if worker in done:
                continue  # its like has moved already
            done.add(worker)
            for kind, after in self._steps(scene, place, worker):
                yield Move(kind, _renamed(after))

    def _steps(self, scene: Scene, place: int, worker: Worker) -> Iterator[tuple[Kind, Scene]]:
        view = worker.view or scene.store
        if worker.view is not None:
            yield READ, _put(scene, place, worker._replace(view=None))
        elif (half := _half_opened(view)) != view:
            yield HALF_OPEN, _written(scene, half, place, worker)
        if worker.phase == "idle":
            yield from self._start(scene, place, worker, view)
        elif worker.phase == "call":
            yield ENDS_WELL, self._ended(scene, place, worker, view, well=True)
            yield FAILS, self._ended(scene, place, worker, view, well=False)
            yield IS_CANCELLED, _put(scene, place, _settled(worker))
        elif worker.phase == "trip":
            after = _tripped(self.policy, view, worker.generation, self.failures)
            yield TRIP, self._swap(scene, place, worker, after)
        else:
            yield FREE, _put(scene, place, Worker(view=worker.view))
        if worker.lease is not None:  # without a permit nobody misses it
            orphans = (*scene.orphans, (worker.generation, worker.lease)) if worker.lease else scene.orphans
            yield VANISHES, _put(scene._replace(orphans=orphans), place, Worker())

    def _start(self, scene: Scene, place: int, worker: Worker, view: Seen) -> Iterator[tuple[Kind, Scene]]:
        said = _admission(self.policy, view)
        if said is Admission.ADMIT:
            yield START, _put(scene, place, worker._replace(phase="call", generation=view.generation))
        elif view.state is State.OPEN:
            return  # due, or not: whoever comes first half-opens it, and a permit is of that generation
        elif said is Admission.PERMIT and _leased(scene, view.generation) < self.permits:
            ticket = worker._replace(phase="call", generation=view.generation, lease=self.lease)
            yield START, _put(scene, place, ticket)

    def _ended(self, scene: Scene, place: int, worker: Worker, view: Seen, *, well: bool) -> Scene:
        """What `Registry` does with an outcome: settle a probe, or count."""
        if worker.lease is not None or view.state is State.HALF_OPEN:
            after = _probed(self.policy, view, worker.generation, well)
            if not well and worker.generation == view.generation and after.left != self.interval:
                raise Violation(f"a failed probe did not re-arm the interval: {view} to {after}")
            return self._swap(scene, place, worker, after)
        generation, failures = scene.window
        if well or not generation <= worker.generation == view.generation:
            return _put(scene, place, _settled(worker))
        failures = (failures if worker.generation == generation else 0) + 1
        done = worker._replace(phase="trip") if failures >= self.failures else _settled(worker)
        return _put(scene._replace(window=(worker.generation, min(failures, self.failures))), place, done)

    def _swap(self, scene: Scene, place: int, worker: Worker, after: Seen) -> Scene:
        """Compare-and-set: whoever has lost reads, and tries again with what there is then."""
        view = worker.view or scene.store
        if after == view:
            return _put(scene, place, _settled(worker))
        if worker.view is not None:
            return _put(scene, place, worker._replace(view=None))
        if worker.generation != scene.store.generation:
            raise Violation(f"an answer of generation {worker.generation} moved {scene.store} to {after}")
        return _written(scene, after, place, _settled(worker))


# --- the store, and what of it can be forgotten -----------------------------------------------------------------------


def _written(scene: Scene, after: Seen, place: int | None, done: Worker | None = None) -> Scene:
    """The record is replaced: whoever had read the old one has an old view now."""
    before = scene.store
    by_hand = place is None
    if after.generation - before.generation != (after.state is not before.state):
        raise Violation(f"a generation for each transition and no other: {before} to {after}")
    if not by_hand and after.state is not before.state and (before.state, after.state) not in LEGAL:
        raise Violation(f"no way leads from {before} to {after}")
    workers = [worker if worker.view is not None else worker._replace(view=before) for worker in scene.workers]
    if place is not None and done is not None:
        workers[place] = done._replace(view=None)
    return scene._replace(store=after, workers=tuple(workers))


def _put(scene: Scene, place: int, worker: Worker) -> Scene:
    return scene._replace(workers=(*scene.workers[:place], worker, *scene.workers[place + 1 :]))


def _settled(worker: Worker) -> Worker:
    """A lease that still runs is to be given back; giving back another has no effect."""
    return worker._replace(phase="free") if worker.lease else Worker(view=worker.view)


def _leased(scene: Scene, generation: int) -> int:
    """Permits of this generation that have not expired, their holders alive or not."""
    held = sum(1 for worker in scene.workers if worker.lease and worker.generation == generation)
    return held + sum(1 for orphan, _ in scene.orphans if orphan == generation)


def _tick(scene: Scene) -> Scene:
    return scene._replace(
        store=_later(scene.store),
        workers=tuple(map(_worker_later, scene.workers)),
        orphans=tuple((generation, left - 1) for generation, left in scene.orphans if left > 1),
    )


@cache
def _later(seen: Seen) -> Seen:
    return seen._replace(left=max(0, seen.left - 1))


@cache
def _worker_later(worker: Worker) -> Worker:
    return worker._replace(
        view=_later(worker.view) if worker.view else None,
        lease=max(0, worker.lease - 1) if worker.lease is not None else None,
    )


def _renamed(scene: Scene) -> Scene:
    """The same scene as every other that differs in names only: which worker is which, and which generation.

    A generation is known to several only while it is the store's, or while permits of it can be had: by views that are
    half-open. Any other matters to one worker, and there only whether its ticket is of its view. Counts of a generation
    that is over can trip nothing.
    """
    shared = {
        worker.view.generation for worker in scene.workers if worker.view and worker.view.state is State.HALF_OPEN
    }
    known = (scene.store.generation, *sorted(shared - {scene.store.generation}, reverse=True))
    workers = sorted((_plain(worker, known) for worker in scene.workers), key=_order)
    counted, failures = scene.window
    window = (PRESENT, failures) if counted == scene.store.generation else (0, 0)
    orphans = tuple(sorted((PRESENT - known.index(old), left) for old, left in scene.orphans if old in known))
    return Scene(scene.store._replace(generation=PRESENT), tuple(workers), window, orphans)


@cache
def _plain(worker: Worker, known: tuple[int, ...]) -> Worker:
    def renamed(generation: int) -> int:
        return PRESENT - known.index(generation) if generation in known else _ITS_VIEW_S

    view = worker.view
    its_view_s = view is not None and worker.generation == view.generation
    lease = worker.lease if worker.lease is None or worker.generation in known else 0
    lasts = its_view_s or worker.generation == known[0] or (lease and worker.generation in known)
    ticket = renamed(worker.generation) if lasts else _OVER
    if view is not None:
        view = view._replace(generation=renamed(view.generation))
    if worker.phase == "idle" or (worker.phase == "free" and not lease):
        return Worker(view=view)
    return worker._replace(view=view, generation=ticket, lease=lease)


@cache
def _order(worker: Worker) -> tuple[object, ...]:
    view = worker.view or Seen(State.CLOSED, -1)
    lease = -1 if worker.lease is None else worker.lease
    return (worker.phase, worker.generation, lease, str(view.state), *view[1:])


# --- the core, by way of records --------------------------------------------------------------------------------------


@cache
def _policy(failures: int, interval: int, permits: int, threshold: int) -> Policy:
    return Policy(
        max_failures=failures,
        failure_rate=0,
        recovery_timeout=interval,
        backoff="constant",
        jitter=0,
        half_open_calls=permits,
        success_threshold=threshold,
    )


@cache
def _record(seen: Seen) -> Record:
    return Record(
        name="smtp",
        state=seen.state,
        generation=seen.generation,
        until=NOW + seen.left,
        successes=seen.successes,
    )


def _seen(before: Seen, record: Record, after: Record) -> Seen:
    if after is record:
        return before
    left = max(0, round(after.until - NOW)) if after.state is State.OPEN else 0
    return Seen(after.state, after.generation, left, after.successes)


@cache
def _half_opened(seen: Seen) -> Seen:
    return _seen(seen, _record(seen), machine.half_opened(_record(seen), now=NOW))


@cache
def _closed_by_hand(seen: Seen) -> Seen:
    return _seen(seen, _record(seen), machine.close(_record(seen), now=NOW))


@cache
def _admission(policy: Policy, seen: Seen) -> Admission:
    return machine.admission(_record(seen), policy, NOW)


@cache
def _probed(policy: Policy, seen: Seen, ticket: int, well: bool) -> Seen:
    record = _record(seen)
    if well:
        return _seen(seen, record, machine.probe_succeeded(record, policy, generation=ticket, now=NOW))
    after = machine.probe_failed(record, policy, generation=ticket, now=NOW, u=0.5, reason="probe failed")
    return _seen(seen, record, after)


@cache
def _tripped(policy: Policy, seen: Seen, ticket: int, failures: int) -> Seen:
    record = _record(seen)
    if record.generation != ticket:
        return seen
    totals = Totals(now=NOW, calls=failures, failures=failures)
    return _seen(seen, record, machine.tripped(record, totals, policy, now=NOW, u=0.5))
