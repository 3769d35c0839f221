"""Looking into parking queues in memory and in folders, where a look takes nothing out.

All that this package knows of how kombu keeps messages there is in this file.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kombu.utils.json import loads

from celery_breaker.plugin.parking.lot import parked_task, parking_queue
from celery_breaker.plugin.parking.portable import PortableLot
from celery_breaker.status import ParkedTask, Waiting

if TYPE_CHECKING:
    from kombu import Connection, Message

__all__ = ["LocalLot", "serves"]


def serves(connection: Connection) -> bool:
    """Whether this broker's messages lie in this process, or in files."""
    return connection.transport.driver_type in ("memory", "filesystem")


class LocalLot(PortableLot):
    """Implements `Lot` on the in-memory and file-system transports: moves messages as on any, and looks at them."""

    def look(self, names: Iterable[str]) -> dict[str, Waiting]:
        """See `Lot.look`."""
        found = {}
        for name in names:
            first = self.peek(name, offset=0, count=1)
            found[name] = Waiting(self.size(name), (first[0].since or None) if first else None)
        return found

    def peek(self, name: str, *, offset: int, count: int) -> list[ParkedTask]:
        """See `Lot.peek`."""
        waiting = _waiting(self._channel(), parking_queue(name))
        return [parked_task(_headers(message)) for message in islice(waiting, offset, offset + count)]

    def messages(self, name: str) -> list[Message]:
        """All parked messages of a breaker, the oldest first, to be read; they stay where they are."""
        channel = self._channel()
        kept = _waiting(channel, parking_queue(name))
        return [channel.Message(message, channel=channel) for message in kept if isinstance(message, Mapping)]


def _waiting(channel: Any, queue: str) -> Iterable[object]:
    """Messages in a queue, the next first, as they are kept."""
    if not hasattr(channel, "data_folder_in"):
        kept = channel.queues.get(queue)
        if kept is None:
            return []
        with kept.mutex:
            return list(kept.queue)
    files = sorted(Path(channel.data_folder_in).iterdir())
    return (_read(file) for file in files if file.name.partition(".")[2] == f"{queue}.msg")


def _read(file: Path) -> object:
    """What is in a file; nothing, if somebody takes it in this moment."""
    try:
        return loads(file.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None


def _headers(message: object) -> object:
    return message.get("headers") if isinstance(message, Mapping) else None
