"""Asks the broker what `examine` judges: whether it is there, what it can do, and whether tasks can be parked on it."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

from kombu import Queue

from celery_breaker.errors import BrokerError
from celery_breaker.plugin.connections import close_quietly, connected
from celery_breaker.plugin.doctor.case import BrokerFacts
from celery_breaker.plugin.parking import amqp
from celery_breaker.plugin.parking.lot import parking_queue
from celery_breaker.plugin.parking.start import missing_queues
from celery_breaker.settings.urls import redacted, shown

if TYPE_CHECKING:
    from celery import Celery
    from kombu import Connection

__all__ = ["broker_facts"]

_MOST = 200
"""Parking queues looked at; each takes a round trip or three."""

_TRIAL_LASTS = 60_000
"""Milliseconds after which RabbitMQ removes a trial queue that could not be deleted."""


def broker_facts(app: Celery, breakers: Iterable[str]) -> BrokerFacts:
    """What is known of an app's broker. Leaves nothing behind on it."""
    planned = app.connection_for_write()
    url = planned.as_uri(include_password=True)
    secret = (url, *planned.alt)
    transport = planned.transport
    error, parking, visibility = "", dict[str, str](), _visibility(app, transport)
    found: Iterable[tuple[str, str]]
    connection: Connection | None = None
    try:
        connection = connected(app, timeout=2)
        if transport.driver_type == "sqs":
            found, visibility = _sqs(app, list(breakers)[:_MOST], visibility)
        else:
            found = _parking(connection, breakers)
        parking = {queue: redacted(why, *secret) for queue, why in found}
    except Exception as exc:  # transports raise what they like
        error = redacted(_one_line(exc), *secret)
    finally:
        close_quietly(connection)
    return BrokerFacts(
        url=shown(url).rstrip("/"),
        transport=str(transport.driver_type if transport.driver_type != "N/A" else planned.transport_cls),
        error=error,
        visibility=visibility,
        parking=parking,
    )


def _visibility(app: Celery, transport: Any) -> float | None:
    """Seconds after which this transport gives an unacknowledged message out again."""
    channel = getattr(transport, "Channel", None)
    default = getattr(channel, "default_visibility_timeout", None) or getattr(channel, "visibility_timeout", None)
    if not isinstance(default, (int, float)):
        return None
    return float((app.conf.broker_transport_options or {}).get("visibility_timeout") or default)


def _parking(connection: Connection, breakers: Iterable[str]) -> Iterator[tuple[str, str]]:
    """The parking queues in which nothing could be parked, and why."""
    trial = _try_amqp if amqp.serves(connection) else _try
    for breaker in list(breakers)[:_MOST]:
        queue = parking_queue(breaker)
        try:
            trial(connection, queue)
        except (*connection.channel_errors, *connection.connection_errors) as exc:
            yield queue, _one_line(exc)


def _sqs(app: Celery, breakers: Sequence[str], visibility: float | None) -> tuple[list[tuple[str, str]], float | None]:
    """The same on Amazon SQS, where a queue that is asked for in kombu's way is made; with its visibility timeout."""
    from celery_breaker.plugin.parking.sqs import SqsLot  # where boto is installed

    found = [(queue, "predefined_queues does not list it") for queue in missing_queues(app, breakers)]
    with closing(SqsLot(app)) as lot:
        for breaker in breakers:
            try:
                lot.size(breaker)
            except BrokerError as exc:
                found.append((lot.place(breaker, ""), _one_line(exc)))
        return found, lot.visibility(app.amqp.queues.consume_from) or visibility


def _try(connection: Connection, queue: str) -> None:
    """Count what is parked: a transport of kombu's own makes queues as it needs them."""
    with _channel(connection) as channel:
        size = getattr(channel, "_size", None)
        if size is not None:
            size(queue)


def _try_amqp(connection: Connection, queue: str) -> None:
    """Declare the queue just as it will be; where there is none, one beside it, which is removed at once.

    Not the queue itself: between its making and its removal a worker could put a task into it.
    """
    if _exists(connection, queue):
        with _channel(connection) as channel:
            Queue(queue, durable=True, channel=channel).queue_declare()
        return
    beside = f"{queue[:200]}.trial-{uuid.uuid4().hex[:8]}"
    with _channel(connection) as channel:
        arguments = {"x-expires": _TRIAL_LASTS}
        made = Queue(beside, durable=True, queue_arguments=arguments, channel=channel)
        made.queue_declare()
        made.delete()


def _exists(connection: Connection, queue: str) -> bool:
    with _channel(connection) as channel:
        try:
            channel.queue_declare(queue, passive=True)
        except connection.channel_errors as exc:
            if getattr(exc, "reply_code", None) == 404:
                return False
            raise
    return True


@contextmanager
def _channel(connection: Connection) -> Iterator[Any]:
    """A channel of its own: whatever is refused closes it."""
    channel: Any = connection.channel()
    try:
        yield channel
    finally:
        close_quietly(channel)


def _one_line(exc: BaseException) -> str:
    return (str(exc) or repr(exc)).partition("\n")[0]
