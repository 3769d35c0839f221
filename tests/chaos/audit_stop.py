"""The end of a worker, and whose fault it is if it does not come.

Celery 5.7 may hang by itself: a warm shutdown waits for a prefork pool that was busy, a cold one for a lock of py-amqp
which its own signal handler interrupted; plain workers do so too. A supervisor kills such a worker, and so do we; but a
worker that hangs while a step of ours stops fails the test. Workers must log at DEBUG, or the steps are not seen.
"""

from __future__ import annotations

import re

from tests.support.workers import Worker

__all__ = ["GIVEN_UP", "ended"]

LONGEST = 8.0
"""Seconds that a shutdown may take: what runs takes a moment, so anything near is a hang."""

GIVEN_UP = "Unrecoverable error"
"""What Celery logs as it ends a worker itself. It does (5.7) when Redis goes while a message is in hand and the next is
awaited, for `kombu` closes the same channel twice."""

_STEPS = re.compile(r"(?:Worker|Consumer): (?:Stopping|Terminating) ([\w ]+)\.\.\.")
_OURS = {"WorkerStep", "ConsumerStep"}


def ended(worker: Worker, *, since: int) -> bool:
    """Wait for its end; kill it if Celery hangs. Whether it ended by itself.

    Args:
        worker: was told to stop, or has given up.
        since: length of its log before that.
    """
    try:
        worker.wait(LONGEST)
    except AssertionError:
        steps = _STEPS.findall(worker.logs()[since:])
        if steps and steps[-1] in _OURS:
            raise
        worker.kill()
        return False
    return True
