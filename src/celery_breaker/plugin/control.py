"""Remote control: what workers answer, and do, when asked over the broker. For looking at; no promise rests on it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from celery.worker.control import inspect_command

from celery_breaker.plugin.fleet import COMMAND

if TYPE_CHECKING:
    from celery_breaker.plugin.worker import WorkerSide

__all__ = ["breaker_worker"]


@inspect_command(name=COMMAND)
def breaker_worker(state: Any, **_: Any) -> dict[str, object]:
    """How this worker keeps its breakers: the store, whether it is reached, and whether this worker tends them."""
    side: WorkerSide | None = getattr(state.consumer.controller, "breakers", None)
    if side is None:
        return {"store": None}
    registry, agent, now = side.registry, side.agent, side.registry.clock()
    return {
        "store": registry.link.shared.url,
        "connected": registry.link.connected,
        "view_age": None if registry.read_at is None else now - registry.read_at,
        "agent": agent.held,
        "tended": None if agent.tended_at is None else now - agent.tended_at,
    }
