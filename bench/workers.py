"""Real worker processes, and the app that sends them tasks."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
from celery import Celery

from celery_breaker.plugin.app import breakers_of
from tests.integration.app import create_app
from tests.support.workers import APP, Worker, environment, worker_argv

_numbers = itertools.count(1)

CONF: dict[str, Any] = {
    "imports": ["bench.apps.tasks"],
    "worker_hijack_root_logger": True,
    "broker_connection_retry_on_startup": True,
}


@contextmanager
def current_app(conf: Mapping[str, Any]) -> Iterator[Celery]:
    """An app of these settings, current within the block."""
    app = create_app({**CONF, **conf})
    try:
        yield app
    finally:
        breakers_of(app).forget()
        app.close()


@contextmanager
def running_worker(
    folder: Path,
    conf: Mapping[str, Any],
    *,
    pool: str = "prefork",
    concurrency: int = 2,
    queues: Sequence[str] = ("celery",),
    args: Sequence[str] = (),
    env: Mapping[str, str] | None = None,
    wait: bool = True,
) -> Iterator[Worker]:
    """A worker with Celery's own defaults, its log level (WARNING) included, that takes tasks when the block begins."""
    settings = {**CONF, **conf}
    name = f"bench-{next(_numbers)}"
    argv = worker_argv(
        pool=pool,
        concurrency=concurrency,
        queues=queues,
        hostname=f"{name}@localhost",
        loglevel="WARNING",
        args=args,
        app=APP,
    )
    worker = Worker(
        argv,
        name=name,
        hostname=f"{name}@localhost",
        conf=settings,
        folder=folder,
        env=environment(settings, env),
        app_maker=create_app,
    )
    worker.start()
    try:
        if wait:
            worker.wait_ready()
        yield worker
    finally:
        worker.stop(10)


def cpu_seconds(worker: Worker) -> float:
    """Processor time that a worker has used so far, its pool processes included."""
    main = psutil.Process(worker.pid)
    times = [process.cpu_times() for process in (main, *main.children(recursive=True))]
    return float(sum(time.user + time.system for time in times))
