"""Waking the worker's event loop from another thread, where kombu does not do so itself (before 5.7)."""

from __future__ import annotations

import contextlib
import socket
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kombu.asynchronous import Hub

__all__ = ["Waker", "needed"]


def needed(hub: Hub) -> bool:
    """Whether ``hub.call_soon`` leaves a sleeping loop asleep, for up to a second."""
    return not hasattr(hub, "_waker")


class Waker:
    """A pipe to the loop. `wake` may be called from any thread, and never waits."""

    def __init__(self) -> None:
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)

    def register(self, hub: Hub) -> None:
        """Listen on this loop; again after each reconnection, which forgets all listeners."""
        hub.add_reader(self._reader, self._drain)

    def wake(self) -> None:
        """Have the loop take its next turn now."""
        with contextlib.suppress(OSError):  # full: it is about to wake anyway
            self._writer.send(b"\0")

    def _drain(self) -> None:
        with contextlib.suppress(OSError):
            self._reader.recv(4096)
