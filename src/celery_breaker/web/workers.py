"""The page of the workers as a drawing."""

from __future__ import annotations

from dataclasses import dataclass

from celery_breaker.status.sampler import Seen
from celery_breaker.status.words import human, plain
from celery_breaker.web.banners import alarms
from celery_breaker.web.drawing import Drawing, Part
from celery_breaker.web.overview import banner_part
from celery_breaker.web.templating import render

__all__ = ["workers"]


@dataclass(frozen=True, slots=True)
class _Worker:
    """What is shown of one; ages are as old as the last answer."""

    name: str
    store: str
    connected: bool
    view: str
    agent: bool
    tended: str


def workers(seen: Seen, *, tend_interval: float) -> Drawing:
    """Who is there, what they see, and who tends."""
    shown = (
        None
        if seen.workers is None
        else tuple(
            _Worker(
                name=plain(worker.name),
                store=plain(worker.store),
                connected=worker.connected,
                view="never" if worker.view_age is None else f"{human(worker.view_age)} ago",
                agent=worker.agent,
                tended="never" if worker.tended is None else f"{human(worker.tended)} ago",
            )
            for worker in seen.workers
        )
    )
    return Drawing(
        title="Workers",
        parts={
            "banners": banner_part(seen, tend_interval=tend_interval),
            "workers": Part(shown, lambda now: render("crew.html", workers=shown)),
        },
        looks=alarms(seen, tend_interval=tend_interval),
    )
