"""Gathers what `examine` judges: asks the store, the broker and the workers, and reads the app's settings."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from celery_breaker.core import machine, tending
from celery_breaker.core.names import is_name
from celery_breaker.errors import ConfigurationError, StoreError
from celery_breaker.plugin.declared.policies import OUR_OWN
from celery_breaker.plugin.doctor.broker import broker_facts
from celery_breaker.plugin.doctor.case import Facts, QueueFacts, StoreFacts, TaskFacts
from celery_breaker.plugin.doctor.workers import workers_online
from celery_breaker.plugin.pausing.plan import pause_plan
from celery_breaker.settings.urls import redacted, secrets_in, servers_of, shown
from celery_breaker.stores.url import kind_of

if TYPE_CHECKING:
    from celery_breaker.plugin.app import AppBreakers
    from celery_breaker.settings import Derived
    from celery_breaker.stores.base import Store

__all__ = ["gather"]

_LOOKS = 5
"""Round trips of which the median is taken."""

_KEEPS_NOTHING = ("disabled", "disabled://")
_LOOPBACK = ("localhost", "127.", "[::1]", "::1")


def gather(breakers: AppBreakers, *, wait: float) -> Facts:
    """All facts; whatever cannot be asked is left at what says so.

    Args:
        wait: seconds for which workers are listened to.

    Raises:
        ConfigurationError: the settings cannot be read.
    """
    app, policies, settings = breakers.app, breakers.policies, breakers.settings
    store, overdue = _store_facts(breakers)
    broker = broker_facts(app, [name for name in policies.names() if policies.of(name).parks])
    conf = app.conf
    return Facts(
        store=store,
        broker=broker,
        policies=policies.declared,
        set_up=tuple(settings.breakers),
        tasks=tuple(_tasks(breakers)),
        workers=None if broker.error else workers_online(app, wait=wait),
        queues=tuple(_queues(conf, app.amqp.queues)),
        overdue=overdue,
        pause_error=_pause_error(breakers),
        result_expires=_expiry(conf),
        prefetch_multiplier=int(conf.worker_prefetch_multiplier or 0),
        detects_quorum=bool(conf.get("worker_detect_quorum_queues", True)),
    )


# --- the store --------------------------------------------------------------------------------------------------------


def _store_facts(breakers: AppBreakers) -> tuple[StoreFacts, dict[str, float]]:
    """What is known of the store, and the breakers in it that nobody tends."""
    derived, settings = breakers.derived, breakers.settings
    kind = kind_of(derived.url)
    error, away, measured, strangers, overdue = "", False, _Measured(), tuple[str, ...](), dict[str, float]()
    try:
        store = breakers.registry.link.shared
        measured = _measure(store)
        names = [name for name in store.names() if is_name(name)]
        strangers = tuple(sorted(name for name in names if not breakers.policies.knows(name)))
        overdue = _overdue(store, names, grace=tending.LATE * settings.tend_interval)
    except (StoreError, ConfigurationError) as exc:
        error = redacted(str(exc), derived.url).partition("\n")[0]
        away = isinstance(exc, StoreError) and "migrate" not in error and kind != "message"
    facts = StoreFacts(
        url=shown(derived.url),
        kind=kind,
        why=derived.why,
        shared=derived.shared,
        error=error,
        away=away,
        round_trip=measured.round_trip,
        timeout=settings.store_timeout,
        skew=measured.skew,
        remote=kind in ("redis", "memcached") and _remote(derived.url),
        protected=kind != "memcached" and _has_credentials(derived),
        writable_file=_writable_file(derived.url) if kind == "sql" else "",
        prefix=settings.store_prefix,
        strangers=strangers,
    )
    return facts, overdue


@dataclass(frozen=True, slots=True)
class _Measured:
    round_trip: float | None = None
    skew: float | None = None


def _measure(store: Store) -> _Measured:
    """How far away the store is, and by how much its clock is ahead, as of the quickest answer."""
    store.now()  # connects
    looks = []
    for _ in range(_LOOKS):
        began, wall = time.perf_counter(), time.time()
        there = store.now()
        took = time.perf_counter() - began
        looks.append((took, there - (wall + took / 2)))
    looks.sort()
    return _Measured(round_trip=looks[len(looks) // 2][0], skew=looks[0][1])


def _overdue(store: Store, names: list[str], *, grace: float) -> dict[str, float]:
    snapshot = store.read(names)
    late = {name: machine.overdue(record, snapshot.now) for name, record in snapshot.records.items()}
    return {name: seconds for name, seconds in late.items() if seconds > grace}


def _remote(url: str) -> bool:
    return any(not server.startswith(_LOOPBACK) for server in servers_of(url))


def _has_credentials(derived: Derived) -> bool:
    """A password, or a certificate of the client's own."""
    options = derived.options
    ssl = options.get("ssl")
    certified = "ssl_certfile" in derived.url or (isinstance(ssl, Mapping) and bool(ssl.get("ssl_certfile")))
    given = any(options.get(name) for name in ("password", "credential_provider"))
    return bool(secrets_in(derived.url)) or given or certified


def _writable_file(url: str) -> str:
    """The path of an SQLite file that anybody may write to."""
    scheme, _, rest = url.partition("://")
    path = Path(rest.partition("?")[0].removeprefix("/"))
    if "sqlite" not in scheme or not path.is_file():
        return ""
    return str(path) if path.stat().st_mode & stat.S_IWOTH and os.access(path.parent, os.X_OK) else ""


# --- the settings -----------------------------------------------------------------------------------------------------


def _tasks(breakers: AppBreakers) -> Iterable[TaskFacts]:
    """The user's tasks, with what counts of their options."""
    app, guarded = breakers.app, breakers.policies.guarded
    for name, task in sorted(app.tasks.items()):
        if name.startswith(OUR_OWN):
            continue
        yield TaskFacts(
            name=name,
            breakers=guarded.get(name, ()),
            time_limit=_seconds(task.time_limit or app.conf.task_time_limit),
            longest_delay=_longest_delay(task),
            acks_late=bool(task.acks_late),
            keeps_result=not task.ignore_result and str(app.conf.result_backend or "disabled") not in _KEEPS_NOTHING,
        )


def _pause_error(breakers: AppBreakers) -> str:
    try:
        pause_plan(breakers.policies, breakers.app.tasks)
    except ConfigurationError as exc:
        return str(exc)
    return ""


def _longest_delay(task: Any) -> float | None:
    """Of the task's own retries; ``retry_backoff_max`` counts only where ``autoretry_for`` uses it."""
    if task.max_retries == 0:
        return None
    if getattr(task, "autoretry_for", ()) and getattr(task, "retry_backoff", False):
        return _seconds(getattr(task, "retry_backoff_max", 600))
    return _seconds(task.default_retry_delay)


def _seconds(value: Any) -> float | None:
    return float(value) if isinstance(value, (int, float)) and value > 0 else None


def _expiry(conf: Any) -> float | None:
    """For how long the shortest-lived of a chord's keys is kept."""
    kept = (conf.result_expires, conf.get("result_chord_expires"))
    seconds = [value.total_seconds() if hasattr(value, "total_seconds") else value for value in kept if value]
    return min(map(float, seconds), default=None)


def _queues(conf: Any, queues: Mapping[str, Any]) -> Iterable[QueueFacts]:
    for name, queue in queues.items():
        arguments = queue.queue_arguments or {}
        limit = arguments.get("x-delivery-limit")
        yield QueueFacts(
            name=str(name),
            quorum=arguments.get("x-queue-type") == "quorum",
            delivery_limit=limit if isinstance(limit, int) else None,
            dead_letters="x-dead-letter-exchange" in arguments,
        )
