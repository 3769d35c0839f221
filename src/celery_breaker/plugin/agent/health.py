"""Health checks: the user's own code, run as a probe in a thread of its own, and what its answer does to the record."""

from __future__ import annotations

import threading

from celery_breaker.core import machine
from celery_breaker.core.policy import Policy
from celery_breaker.core.record import Record
from celery_breaker.engine.registry import Registry
from celery_breaker.engine.view import Cell

__all__ = ["HealthChecks"]


class HealthChecks:
    """Runs at most one check of each breaker at a time. One that hangs past the probe's timeout is a failure."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._running: set[str] = set()

    def start(self, cell: Cell) -> None:
        """Check a half-open breaker's service, unless that is under way. Never waits."""
        if cell.name in self._running:
            return
        self._running.add(cell.name)
        work = (cell, cell.record.generation)
        try:
            threading.Thread(target=self._check, args=work, name="celery-breaker-health", daemon=True).start()
        except BaseException:
            self._running.discard(cell.name)  # no thread could be had; it is tried again
            raise

    def _check(self, cell: Cell, generation: int) -> None:
        try:
            healthy, reason = _healthy(cell.policy)
            u = self._registry.random()

            def step(record: Record, now: float) -> Record:
                if record.generation != generation:
                    return record
                return machine.health_checked(record, cell.policy, healthy=healthy, now=now, u=u, reason=reason)

            self._registry.change(cell, step)
        finally:
            self._running.discard(cell.name)


def _healthy(policy: Policy) -> tuple[bool, str]:
    """Run the health check; whether it passed, and what it said."""
    check = policy.health_check
    assert callable(check)
    box: list[tuple[bool, str]] = []

    def run() -> None:
        try:
            answer = check()
        except Exception as exc:
            box.append((False, f"health check failed: {exc!r}"[:200]))
        else:
            box.append((answer is None or bool(answer), "health check failed"))

    thread = threading.Thread(target=run, name="celery-breaker-health-call", daemon=True)
    thread.start()
    thread.join(policy.probe_lease)
    return box[0] if box else (False, "health check timed out")
