"""Tasks that fail a few times and then succeed, behind breakers that set their failures aside."""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path
from typing import Any

from celery import Task, shared_task
from celery.signals import task_failure, task_postrun, task_success

from celery_breaker import BreakerTask
from tests.integration.guarded import ServiceDown, call_service
from tests.integration.tasks import audit_line


def attempt(folder: str, number: int) -> int:
    """Note one more run of this task, and return how many there have been, this one included."""
    file = str(Path(folder, f"runs-{number}"))
    audit_line(file, f"{time.time():.6f}")
    return len(Path(file).read_text().splitlines())


@shared_task(name="failing.flaky", base=BreakerTask, breaker="svc")
def flaky(folder: str, number: int, failures: int = 1) -> int:
    """Fails so often, then succeeds."""
    if attempt(folder, number) <= failures:
        raise ServiceDown("not yet")
    return number


@shared_task(name="failing.late", base=BreakerTask, breaker="svc", acks_late=True)
def late(folder: str, number: int) -> int:
    """Like `guarded.once`, acknowledged at its end."""
    call_service(folder, number)
    return number


@shared_task(name="failing.hang", base=BreakerTask, breaker="svc", time_limit=2)
def hang(folder: str, number: int) -> int:
    """Hangs the first time."""
    if attempt(folder, number) == 1:
        time.sleep(60)
    return number


@shared_task(name="failing.hang_late", base=BreakerTask, breaker="svc", time_limit=2, acks_late=True)
def hang_late(folder: str, number: int) -> int:
    """Like `hang`, acknowledged at its end."""
    return int(hang.run(folder, number))


@shared_task(name="failing.soft", base=BreakerTask, breaker="svc", soft_time_limit=1)
def soft(folder: str, number: int) -> int:
    """Like `hang`, and told so by an exception."""
    return int(hang.run(folder, number))


@shared_task(name="failing.die", base=BreakerTask, breaker="svc")
def die(folder: str, number: int) -> int:
    """Loses its process the first time."""
    if attempt(folder, number) == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


class AskedToWait(ServiceDown):
    """The service says for how long it wants to be left alone."""

    retry_after = 300


@shared_task(name="failing.asked", base=BreakerTask, breaker="svc")
def asked(folder: str, number: int) -> int:
    """Is asked to wait for minutes the first time."""
    if attempt(folder, number) == 1:
        raise AskedToWait
    return number


@shared_task(name="failing.slowly", base=BreakerTask, breaker="svc")
def slowly(folder: str, number: int) -> int:
    """Fails when the test says so, by the file ``end``, the first time."""
    if attempt(folder, number) == 1:
        while not Path(folder, "end").exists():
            time.sleep(0.05)
        raise ServiceDown("too late")
    return number


@shared_task(name="failing.slowly_late", base=BreakerTask, breaker="svc", acks_late=True)
def slowly_late(folder: str, number: int) -> int:
    """Like `slowly`, acknowledged at its end."""
    return int(slowly.run(folder, number))


@shared_task(name="failing.own_retry", bind=True, base=BreakerTask, breaker="svc", max_retries=3)
def own_retry(self: Task[Any, Any], folder: str, number: int) -> int:
    """Sends its own retry when it fails the first time."""
    if attempt(folder, number) == 1:
        raise self.retry(exc=ServiceDown("not yet"), countdown=1)
    return int(self.request.retries)


@shared_task(name="failing.judged", base=BreakerTask, breaker="svc")
def judged(folder: str, number: int) -> str:
    """Gives a bad result the first time."""
    return "bad" if attempt(folder, number) == 1 else "good"


@shared_task(name="failing.half", bind=True, base=BreakerTask, breaker="svc", max_retries=50)
def half(self: Task[Any, Any], folder: str, number: int, chance: float = 0.5) -> int:
    """Calls a service that is half broken, and retries at once."""
    audit_line(str(Path(folder, "calls")), f"{time.time():.6f}", "up", number, self.request.retries)
    if random.random() < chance:
        raise self.retry(exc=ServiceDown("half broken"), countdown=0)
    return number


SIGNALS = "FAILING_SIGNALS"
"""Name of the variable with the file into which the signals of tasks are noted."""


def _note(kind: str, **words: Any) -> None:
    if SIGNALS in os.environ and (task := words.get("sender")) is not None:
        audit_line(os.environ[SIGNALS], kind, task.name, words.get("state") or "")


task_failure.connect(lambda **words: _note("failure", **words), weak=False)
task_success.connect(lambda **words: _note("success", **words), weak=False)
task_postrun.connect(lambda **words: _note("postrun", **words), weak=False)
