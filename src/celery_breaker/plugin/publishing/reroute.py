"""The way to a parking queue for a message that is being published: Celery makes it, its router is replaced."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from kombu import Queue

from celery_breaker.plugin.parking.note import Note

__all__ = ["ToParking"]

_ROUTING = ("exchange", "routing_key", "exchange_type")


class ToParking:
    """Leads one message to a breaker's parking queue, noting on it the queue that its own router would have chosen.

    A message that would not go straight to one queue (a fanout or topic exchange, an exchange and a key of the
    caller's) is led where it would have gone: nobody could say from here where it is to go later.

    Args:
        router: the app's, or the one that the caller gave.
        place: see `Lot.place`.
        keeps_priority: see `Lot.keeps_priority`; where it does not, the priority travels in the note, and the release
            gives it back.

    Attributes:
        parked: whether it was led to the parking queue.
    """

    def __init__(
        self, router: Any, breaker: str, *, place: Callable[[str, str], str], now: float, keeps_priority: bool
    ) -> None:
        self._router = router
        self._place = place
        self._breaker = breaker
        self._now = now
        self._keeps_priority = keeps_priority
        self.parked = False

    def route(
        self, options: dict[str, Any], name: str, args: Any = (), kwargs: Any = None, task_type: Any = None
    ) -> dict[str, Any]:
        """See `celery.app.routes.Router.route`."""
        routed: dict[str, Any] = self._router.route(options, name, args, kwargs, task_type)
        origin = routed.get("queue")
        if origin is None or not _straight(routed):
            return routed
        came_from = str(getattr(origin, "name", origin))
        parked = Queue(self._place(self._breaker, came_from), durable=True)
        note = Note.of(routed.get("headers")).again(breaker=self._breaker, queue=came_from, now=self._now)
        kept = {key: value for key, value in routed.items() if key not in _ROUTING}
        if not self._keeps_priority:
            note = replace(note, priority=_number(kept.pop("priority", None)))
        kept["queue"] = parked
        kept["declare"] = [parked, *([origin] if isinstance(origin, Queue) else []), *(routed.get("declare") or ())]
        kept["headers"] = note.on(routed.get("headers") or {})
        kept["delivery_mode"] = 2
        self.parked = True
        return kept


def _straight(routed: Mapping[str, Any]) -> bool:
    """Whether Celery would put it into its queue by the default exchange; see ``send_task_message``."""
    kind = routed.get("exchange_type") or getattr(getattr(routed["queue"], "exchange", None), "type", "direct")
    return kind == "direct" and not (routed.get("exchange") and routed.get("routing_key"))


def _number(priority: Any) -> int | None:
    try:
        return int(priority)
    except (TypeError, ValueError):
        return None  # kombu takes it for none, too
