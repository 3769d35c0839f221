"""Work in a thread of its own, so that no call has to wait for it: the reporter, the agent, the deferrer."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

__all__ = ["Background"]

logger = logging.getLogger(__name__)


class Background:
    """Calls ``work`` in a daemon thread: at once when woken, else as often as ``work`` asks.

    ``work`` returns the seconds until it wants to run again. What it raises is logged, once per kind of error in a
    row, and never ends the thread. Starts with the first `wake`.
    """

    def __init__(self, work: Callable[[], float], *, name: str) -> None:
        self._work = work
        self._name = name
        self._event = threading.Event()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self._stopping = False
        self._complaint = ""

    @property
    def running(self) -> bool:
        """Whether the thread is alive."""
        return self._thread is not None and self._thread.is_alive()

    def start(self) -> None:
        """Start the thread unless it runs."""
        if self.running or self._stopping:
            return
        with self._lock:
            if not self.running:
                self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
                self._thread.start()

    def wake(self) -> None:
        """Have ``work`` run as soon as possible. Never waits."""
        self._event.set()
        if self._thread is None:
            self.start()

    def stop(self, timeout: float = 2.0) -> None:
        """Run ``work`` a last time and end the thread; gives up after ``timeout`` seconds."""
        self._stopping = True
        self._event.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout)

    def _run(self) -> None:
        while not self._stopping:
            pause = self.turn()
            self._event.wait(pause)
            self._event.clear()
        self.turn()

    def turn(self) -> float:
        """One run of ``work``, isolated; the seconds until the next."""
        try:
            pause = self._work()
        except Exception as exc:
            if (complaint := repr(exc)) != self._complaint:
                logger.exception("%s failed; goes on", self._name)
                self._complaint = complaint
            return 1.0
        self._complaint = ""
        return pause
