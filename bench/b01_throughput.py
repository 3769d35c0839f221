"""Row 1: no-op tasks per second of a worker, behind a closed breaker ÷ plain; and with a peer's breaker inside."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from typing import Any

from celery import Celery

from bench import drawing
from bench.apps.peers import REDIS_VARIABLE
from bench.apps.tasks import CLOSED
from bench.batches import Batches
from bench.pairs import Spread, interleaved, ratio, spread
from bench.rows import Row
from bench.servers import Servers
from bench.workers import cpu_seconds, current_app, running_worker
from celery_breaker.plugin.app import breakers_of
from tests.support.waiting import eventually
from tests.support.workers import Worker

BAR = 0.97

MEASURES = (
    "Batches of messages appear in a worker's queue at once; counted is how fast they leave the broker. Plain and "
    "guarded tasks take turns in the same worker, and so do tasks with a peer's closed breaker inside."
)

PLAIN, GUARDED = "bench.plain", "bench.guarded"
PEERS = {
    "bench.autoretry": "plain Celery with autoretry_for and back-off",
    "bench.pybreaker": "pybreaker, Redis storage, inside the task",
    "bench.interlock": "interlock-cb, Redis integration, inside the task",
    "bench.circuitbreaker": "circuitbreaker (of each process) inside the task",
    "bench.purgatory": "purgatory (of each process) inside the task",
}

_ratios: dict[str, Spread] = {}


def rows(quick: bool) -> list[Row]:
    """A row with a bar for each pool, then the peers on prefork."""
    size, rounds = (200, 1) if quick else (1000, 15)
    out: list[Row] = []
    peers: list[Row] = []
    with Servers() as servers:
        server = servers.redis()
        for pool in ("prefork",) if quick else ("prefork", "threads", "solo"):
            conf = _conf(server.url, server.url_for(2), f"bench-{pool}")
            env = {REDIS_VARIABLE: server.url_for(3)}
            with ExitStack() as stack:
                app = stack.enter_context(current_app(conf))
                worker = stack.enter_context(running_worker(servers.new_folder(pool), conf, pool=pool, env=env))
                measured = Measured(stack.enter_context(closing(Batches(app, server, size))), worker)
                measured.run([PLAIN, GUARDED], rounds=rounds)
                _check_counted(app, size)
                out.append(_row(pool, measured))
                if pool == "prefork":
                    measured.run([PLAIN, *PEERS], rounds=min(rounds, 5))
                    peers = [_peer_row(task, measured) for task in PEERS]
    return out + peers


def plot(folder: Path) -> None:
    """Draw the ratios."""
    drawing.bars(folder / "bench-01-throughput.svg", _ratios, label="no-op tasks/s ÷ those of plain tasks", bar=BAR)


def _conf(broker: str, store: str, prefix: str) -> dict[str, Any]:
    imports = ["bench.apps.tasks", "bench.apps.peers"]
    return {"broker_url": broker, "breaker_store": store, "breaker_store_prefix": prefix, "imports": imports}


class Measured:
    """What the tasks of one worker came to: their rates by round, and the worker's processor time."""

    def __init__(self, batches: Batches, worker: Worker) -> None:
        self.rates: dict[str, list[float]] = {}
        self._batches = batches
        self._worker = worker
        self._cpu: dict[str, float] = {}

    def run(self, tasks: Sequence[str], *, rounds: int) -> None:
        """Measure these, in place of what was measured before."""
        for task in tasks:
            self._batches.prepare(task)
        arms = {task: partial(self._rate, task) for task in tasks}
        interleaved(arms, rounds=1)  # each pool process connects and imports at its first task
        self._cpu = dict.fromkeys(tasks, 0.0)
        self.rates = interleaved(arms, rounds=rounds)

    def _rate(self, task: str) -> float:
        before = cpu_seconds(self._worker)
        rate = self._batches.rate(task)
        self._cpu[task] = self._cpu.get(task, 0.0) + cpu_seconds(self._worker) - before
        return rate

    def against_plain(self, task: str) -> Spread:
        """The ratio of the rates."""
        return ratio(self.rates[task], self.rates[PLAIN])

    def note(self, task: str) -> str:
        """The figures behind the ratio."""
        rates, plain = spread(self.rates[task]).median, spread(self.rates[PLAIN]).median
        cpu = self._cpu[task] / self._cpu[PLAIN]
        return (
            f"{rates:,.0f}/s and {plain:,.0f}/s, {len(self.rates[task])} pairs; {cpu:.3f} of the worker's CPU per task"
        )


def _check_counted(app: Celery, size: int) -> None:
    """A guard that is not there would be fast."""
    registry = breakers_of(app).registry
    cell = registry.cell(CLOSED)
    eventually(lambda: registry.totals(cell).calls >= size, "the breaker should have counted the tasks", timeout=20)


def _row(pool: str, measured: Measured) -> Row:
    found = _ratios[f"celery-breaker, {pool}"] = measured.against_plain(GUARDED)
    return Row(
        number=1,
        what=f"no-op tasks/s, breaker closed ÷ plain, {pool}",
        figure=f"{found:.3f}",
        bar=f"≥ {BAR}",
        met=found.median >= BAR,
        note=measured.note(GUARDED),
    )


def _peer_row(task: str, measured: Measured) -> Row:
    found = _ratios[PEERS[task]] = measured.against_plain(task)
    what = f"the same, prefork, {PEERS[task]}"
    return Row(number=1, what=what, figure=f"{found:.3f}", bar="", met=None, note=measured.note(task))
