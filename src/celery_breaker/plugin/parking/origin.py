"""Which queue a message came from, and so may go back to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kombu import Message, Queue

__all__ = ["origin_queue"]


def origin_queue(message: Message, queues: Sequence[Queue], tags: Mapping[str, str]) -> str | None:
    """The queue a message was consumed from, or ``None`` when it cannot be parked safely.

    A copy of a fanout exchange stays where it is: put anywhere else, it would run for nobody or for all. Where the
    transport does not say the queue, it is the one consumed queue that the message's exchange and key lead to.

    Args:
        message: as received.
        queues: the queues this worker consumes.
        tags: names of queues by consumer tag.
    """
    info = message.delivery_info or {}
    by_name = {queue.name: queue for queue in queues}
    consumed = by_name.get(tags.get(info.get("consumer_tag") or "", ""))
    if consumed is None:
        candidates = [by_name[name] for name in _routed(message) if name in by_name]
        consumed = candidates[0] if len(candidates) == 1 else None
    if consumed is None or (consumed.exchange is not None and consumed.exchange.type == "fanout"):
        return None
    return str(consumed.name)


def _routed(message: Message) -> Sequence[str]:
    lookup = getattr(message.channel, "_lookup", None)
    info = message.delivery_info or {}
    return [] if lookup is None else lookup(info.get("exchange"), info.get("routing_key"))
