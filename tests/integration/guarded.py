"""Tasks behind breakers, and the service they call: a folder in which a test can say that it is down."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

from celery import Task, shared_task

from celery_breaker import Breaker, BreakerOpen, BreakerTask
from tests.integration.tasks import audit_line


class ServiceDown(OSError):
    """What a dead service's caller gets."""


def call_service(folder: str, *words: object) -> None:
    """One call: noted with the time and whether the service was up; raises while the file ``down`` is there."""
    down = Path(folder, "down").exists()
    audit_line(str(Path(folder, "calls")), f"{time.time():.6f}", "down" if down else "up", *words)
    if down:
        hang = Path(folder, "hang")
        if hang.exists():
            time.sleep(60)
        raise ServiceDown("the service is down")


@shared_task(
    name="guarded.call",
    bind=True,
    base=BreakerTask,
    breaker="svc",
    autoretry_for=(OSError,),
    retry_backoff=1,
    retry_jitter=False,
)
def call(self: Task[Any, Any], folder: str, number: int) -> int:
    call_service(folder, number, self.request.retries)
    return number


@shared_task(name="guarded.once", base=BreakerTask, breaker="svc")
def once(folder: str, number: int) -> int:
    """Like `call`, without a retry."""
    call_service(folder, number)
    return number


@shared_task(name="guarded.total")
def total(numbers: list[int]) -> int:
    return sum(numbers)


@shared_task(name="guarded.on_error")
def on_error(request: Any, exc: Any, traceback: Any, folder: str) -> None:
    audit_line(str(Path(folder, "errbacks")), type(exc).__name__)


@shared_task(name="guarded.per_host", base=BreakerTask, breaker="host:{host}", breaker_options={"max_failures": 2})
def per_host(host: str, folder: str) -> str:
    call_service(folder, host)
    return host


@shared_task(name="guarded.both", base=BreakerTask, breaker=["crm", "billing"])
def both(folder: str, number: int) -> int:
    call_service(folder, number)
    return number


@shared_task(name="guarded.die", base=BreakerTask, breaker="svc")
def die() -> None:
    """What the kernel does to a process that takes too much memory."""
    os.kill(os.getpid(), signal.SIGKILL)


@shared_task(name="guarded.hang", base=BreakerTask, breaker="svc", time_limit=2)
def hang() -> None:
    time.sleep(60)


@shared_task(name="guarded.soft", base=BreakerTask, breaker="svc", soft_time_limit=1)
def soft() -> None:
    time.sleep(60)


class Unpicklable(Exception):
    def __init__(self, first: object, second: object) -> None:
        super().__init__(first)
        self.handle = lambda: second  # keeps it from being pickled


@shared_task(name="guarded.unpicklable", base=BreakerTask, breaker="svc")
def unpicklable() -> None:
    raise Unpicklable(1, 2)


@shared_task(name="guarded.fallback", base=BreakerTask, breaker="fallback")
def with_fallback(folder: str, number: int) -> str:
    call_service(folder, number)
    return "real"


def fall_back(exc: Exception, folder: str, number: int) -> str:
    return f"instead of {number}: {type(exc).__name__}"


@shared_task(name="guarded.judged", base=BreakerTask, breaker="judged")
def judged(result: str) -> str:
    return result


def classify(exception: BaseException | None, result: object) -> str | None:
    return "failure" if result == "bad" else None


@shared_task(name="guarded.plain")
def plain(folder: str, number: int) -> int:
    """Names no breaker; the settings may attach one."""
    call_service(folder, number)
    return number


def check_health() -> bool:
    folder = os.environ["GUARDED_SERVICE"]
    audit_line(str(Path(folder, "checks")), f"{time.time():.6f}")
    return not Path(folder, "down").exists()


@shared_task(name="guarded.inner")
def inner(folder: str, number: int) -> str:
    """Guards a call itself, inside the pool process."""
    try:
        Breaker("inner").call(call_service, folder, number)
    except ServiceDown:
        return "down"
    except BreakerOpen:
        return "open"
    return "up"


@shared_task(name="guarded.slow_failure", base=BreakerTask, breaker="svc")
def slow_failure(folder: str, number: int, seconds: float) -> None:
    audit_line(str(Path(folder, "started")), number)
    time.sleep(seconds)
    raise ServiceDown("too late")


@shared_task(name="guarded.held", base=BreakerTask, breaker="svc")
def held(folder: str, number: int) -> int:
    """Notes that it began, and ends when and as the test says: by the file ``end-NUMBER``."""
    audit_line(str(Path(folder, "began")), number, time.monotonic())
    end = Path(folder, f"end-{number}")
    while not end.exists():
        time.sleep(0.01)
    if end.read_text() == "failure":
        raise ServiceDown("as the test says")
    return number


@shared_task(name="guarded.stamped", base=BreakerTask, breaker="svc")
def stamped(folder: str, number: int) -> int:
    """Like `once`, with the time by the one clock that all processes of a machine share and nobody sets."""
    audit_line(str(Path(folder, "stamps")), number, time.monotonic())
    call_service(folder, number)
    return number


@shared_task(name="guarded.work", base=BreakerTask, breaker="svc", acks_late=True, reject_on_worker_lost=True)
def work(folder: str, number: int, seconds: float) -> int:
    """Calls the service at its end: a process that dies before has not done it."""
    time.sleep(seconds)
    call_service(folder, number)
    return number
