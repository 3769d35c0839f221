"""Work in a thread of its own, so that no call has to wait for it: the reporter, the agent, the deferrer."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

__all__ = ["Background"]

logger = logging.getLogger(__name__)


class Background:
    """Calls ``work`` in a daemon thread: at once when woken, else as often as ``work`` asks.

    ``work`` returns the seconds until it wants to run again. What it raises is logged, once per kind of error in a
    row, and never ends the thread. Starts with the first `wake`.

    Args:
        linger: seconds between being woken and working, so that what comes in quick succession is done in one go.
    """

    def __init__(self, work: Callable[[], float], *, name: str, linger: float = 0.0) -> None:
        self._work = work
        self._name = name
        self._linger = linger
        self._event = threading.Event()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self._stopping = False
        self._complaint = ""

    @property
    def current(self) -> bool:
        """Whether the caller is ``work`` itself."""
        return self._thread is threading.current_thread()

    @property
    def running(self) -> bool:
        """Whether the thread is alive."""
        return self._thread is not None and self._thread.is_alive()

    def start(self) -> None:
        """Start the thread unless it runs."""
        if self.running or self._stopping:
            return
        with self._lock:
            if not (self.running or self._stopping):
                self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
                self._thread.start()

    def wake(self) -> None:
        """Have ``work`` run as soon as possible. Never waits."""
        if not self._event.is_set():  # cheaper than setting it; whoever clears it has yet to work
            self._event.set()
        if self._thread is None:
            self.start()

    def stop(self, timeout: float = 2.0) -> None:
        """Run ``work`` a last time and end the thread; gives up after ``timeout`` seconds."""
        self._stopping = True
        self._event.set()
        with self._lock:  # what is just being started cannot be joined yet
            thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout)

    def _run(self) -> None:
        while not self._stopping:
            pause = self.turn()
            if self._event.wait(pause) and self._linger and not self._stopping:
                time.sleep(self._linger)
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
