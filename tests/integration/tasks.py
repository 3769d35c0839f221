"""The tasks that the workers of these tests run. Shared tasks: each call goes to the app that is current."""

from __future__ import annotations

import os
import time

from celery import shared_task


def audit_line(path: str, *words: object) -> None:
    """Append one line in one write, so that lines of several processes never mix."""
    line = " ".join(str(word) for word in words) + "\n"
    handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(handle, line.encode())
    finally:
        os.close(handle)


@shared_task(name="tests.add")
def add(x: int, y: int) -> int:
    return x + y


@shared_task(name="tests.record")
def record(path: str, *words: object) -> None:
    """Append a line to the audit file `path`."""
    audit_line(path, *words)


@shared_task(name="tests.pause")
def pause(path: str, seconds: float, *words: object) -> None:
    """Append `begin …`, wait, append `end …`."""
    audit_line(path, "begin", *words)
    time.sleep(seconds)
    audit_line(path, "end", *words)


@shared_task(name="tests.whoami")
def whoami() -> int:
    """The pid of the process that runs it."""
    return os.getpid()
