"""What is measured: a sampler, a desk, or a process's own registry."""

from __future__ import annotations

from celery_breaker.engine.default import current_registry
from celery_breaker.engine.meters import Meter
from celery_breaker.engine.registry import Registry
from celery_breaker.metrics import table
from celery_breaker.metrics.figures import Figure, gauges
from celery_breaker.metrics.labels import Labels
from celery_breaker.status.desk import Desk
from celery_breaker.status.sampler import Sampler

__all__ = ["Measured", "Source"]

Source = Sampler | Desk | Registry
"""A sampler shows the whole fleet, as does a desk, with a sampler of its own; a registry what its process knows."""


class Measured(Meter):
    """A source, and how its breakers are labelled. Thread-safe.

    Args:
        source: ``None`` is this process's own registry: the current Celery app's, if there is one.
    """

    survives_fork = True

    def __init__(self, source: Source | None, labels: Labels) -> None:
        if source is None:
            source = current_registry()
        self.labels = labels
        self._own_sampler = Sampler(source) if isinstance(source, Desk) else None
        self._sampler = source if isinstance(source, Sampler) else self._own_sampler
        self.registry: Registry = source if isinstance(source, Registry) else _desk_of(source).registry
        self._tended_at: float | None = None
        self.registry.meters.add(self)

    def tended(self) -> None:
        """See `Meter.tended`."""
        self._tended_at = self.registry.clock()

    def gauges(self) -> list[Figure]:
        """What is known now; never waits. The first call starts the sampler of a desk."""
        if self._own_sampler is not None:
            self._own_sampler.start()
        found = gauges(self.registry, self._sampler, self.labels)
        if self._sampler is None and self._tended_at is not None:
            found.append(Figure(table.TENDED_AGE, (), self.registry.clock() - self._tended_at))
        return found

    def stop(self) -> None:
        """Hear no more, and end the sampler if it was started here."""
        self.registry.meters.remove(self)
        if self._own_sampler is not None:
            self._own_sampler.stop()


def _desk_of(source: Sampler | Desk) -> Desk:
    return source.desk if isinstance(source, Sampler) else source
