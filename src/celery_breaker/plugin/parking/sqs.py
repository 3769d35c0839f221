"""Parking on Amazon SQS, where each request is paid for, counts are behind, and a queue must not be asked for in vain.

All that this package knows of boto and of kombu's SQS transport is in this file, and the names beside it.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError
from kombu.asynchronous.aws.sqs.message import AsyncMessage
from kombu.utils.encoding import safe_str

from celery_breaker.clock import monotonic
from celery_breaker.errors import BrokerError
from celery_breaker.plugin.parking.lot import Held, Move, Pace, Turn
from celery_breaker.plugin.parking.note import Note
from celery_breaker.plugin.parking.portable import PortableLot
from celery_breaker.plugin.parking.sqs_names import FIFO, PREFIX, parking_queue
from celery_breaker.status import Waiting

if TYPE_CHECKING:
    from celery import Celery
    from kombu import Message

__all__ = ["SqsLot"]

logger = logging.getLogger(__name__)

_AT_ONCE = 10
"""Messages that SQS hands over in one request, at the most."""

_WAIT = 1
"""Seconds that SQS looks for a message: at once it would ask a few of its machines only, and miss some."""

_IN_HAND = 60
"""Seconds for which a message that is being released, or cannot be parked, is hidden from others."""

_UNTIL_NEXT_LOOK = 10
"""Seconds for which a parked message that has to wait is out of sight: a look at it takes two requests."""

_KEPT_FOR = "1209600"
"""Seconds that SQS keeps a message, at the most; it would be 4 days."""

_PACE = Pace(settles=60.0, again=2.0, search=3600.0, watch=10.0)

_COUNTS = [f"ApproximateNumberOfMessages{kind}" for kind in ("", "NotVisible", "Delayed")]
_NO_QUEUE = ("AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist")
_PURGING = ("AWS.SimpleQueueService.PurgeQueueInProgress", "PurgeQueueInProgress")
_TOO_LONG = ("InvalidParameterValue", "InvalidParameterValueException")
_FOR_SHOW = ("argsrepr", "kwargsrepr")
"""Headers that nobody needs but for the eye."""


class SqsLot(PortableLot):
    """Implements `Lot` on Amazon SQS.

    A task of a FIFO queue is parked in a FIFO queue and keeps its message group, so a breaker has up to two parking
    queues. They are made when they are needed, and never by a look.
    """

    pace = _PACE
    kept = (*PortableLot.kept, "MessageGroupId")

    def __init__(self, app: Celery) -> None:
        super().__init__(app)
        self._tried: dict[str, float] = {}
        self._left: set[str] = set()
        self._sized: dict[str, int] = {}

    @property
    def _options(self) -> dict[str, Any]:
        return dict(self._app.conf.broker_transport_options or {})

    def _connection_options(self) -> dict[str, Any]:
        ours = {"MessageRetentionPeriod": _KEPT_FOR, **(self._options.get("sqs-creation-attributes") or {})}
        return {"transport_options": {**self._options, "sqs-creation-attributes": ours}}

    # --- queues -------------------------------------------------------------------------------------------------------

    def place(self, name: str, origin: str) -> str:
        """See `Lot.place`."""
        prefix = str(self._options.get("queue_name_prefix") or "")
        return parking_queue(name, fifo=origin.endswith(FIFO), prefix=prefix)

    def _places(self, name: str) -> list[str]:
        """The parking queues of a breaker that exist."""
        channel = self._channel()
        queues = [self.place(name, "")]
        if any(queue.endswith(FIFO) for queue in (*channel._queue_cache, *self._app.amqp.queues)):
            queues.append(self.place(name, FIFO))
        return [queue for queue in queues if self._url(queue) is not None]

    def _url(self, queue: str) -> str | None:
        """Of a queue, if it exists."""
        channel = self._channel()
        known, name = channel._queue_cache, channel.canonical_queue_name(queue)
        if name not in known and not channel.predefined_queues:
            channel._update_queue_cache(name)
        url: str | None = known.get(name)
        return url

    def _forget(self, queue: str) -> None:
        """Somebody has deleted a queue that is known."""
        channel = self._channel()
        channel._queue_cache.pop(channel.canonical_queue_name(queue), None)

    def _client(self, queue: str) -> Any:
        channel = self._channel()
        return channel.sqs(queue=channel.canonical_queue_name(queue))

    def _declare(self, queue: str) -> None:
        """Nothing: kombu makes a queue as it puts a message into it."""

    # --- counting -----------------------------------------------------------------------------------------------------

    def _count(self, queue: str) -> int | None:
        counts = self._counts(queue)
        return None if counts is None else counts[0]

    def _counts(self, queue: str) -> list[int] | None:
        """Messages in a queue that wait, that somebody has in hand, and that wait for their time."""
        if (url := self._url(queue)) is None:
            return None
        try:
            said = self._client(queue).get_queue_attributes(QueueUrl=url, AttributeNames=_COUNTS)
        except ClientError as exc:
            if _code(exc) not in _NO_QUEUE:
                raise
            self._forget(queue)
            return None
        return [int(said["Attributes"].get(kind, 0)) for kind in _COUNTS]

    def size(self, name: str) -> int:
        """See `Lot.size`; with those in somebody's hand, who may die and leave them."""
        with _in_one_sentence():
            self._sized |= (sizes := {queue: sum(self._counts(queue) or ()) for queue in self._places(name)})
            return sum(sizes.values())

    def look(self, names: Iterable[str]) -> dict[str, Waiting]:
        """See `Lot.look`; since when, is beyond this way."""
        found = {}
        with _in_one_sentence():
            there = self._existing()
            for name in names:
                queues = [queue for queue in (self.place(name, ""), self.place(name, FIFO)) if queue in there]
                found[name] = Waiting(sum(sum(self._counts(queue) or ()) for queue in queues))
        return found

    def _existing(self) -> set[str]:
        """All parking queues, asked for in one go rather than one by one."""
        channel = self._channel()
        before: str = channel.queue_name_prefix
        if not channel.predefined_queues:
            prefix = channel.canonical_queue_name(PREFIX)
            pages = channel.sqs().get_paginator("list_queues").paginate(QueueNamePrefix=prefix, MaxResults=1000)
            found = [url for page in pages for url in page.get("QueueUrls", [])]
            channel._queue_cache.update({url.rpartition("/")[2]: url for url in found})
        return {name[len(before) :] for name in channel._queue_cache}

    def visibility(self, queues: Iterable[str]) -> float | None:
        """Seconds until a message in hand is given out again, where that is soonest; ``None`` if no queue exists."""
        wanted, soonest = "VisibilityTimeout", list[float]()
        with _in_one_sentence():
            for queue in queues:
                if (url := self._url(queue)) is not None:
                    said = self._client(queue).get_queue_attributes(QueueUrl=url, AttributeNames=[wanted])
                    soonest.append(float(said["Attributes"][wanted]))
        return min(soonest, default=None)

    # --- moving -------------------------------------------------------------------------------------------------------

    def move(self, moves: Sequence[Move]) -> None:
        """See `Lot.move`; what cannot be parked stays in its queue, and comes again after a while."""
        now = monotonic()
        tags = [str(move.message.delivery_tag) for move in moves]
        self._tried = {tag: self._tried.get(tag, now) for tag in tags}
        for move, tag in zip(moves, tags, strict=True):
            if not move.current():
                continue
            if not move.acknowledged and now - self._tried[tag] > self._patience():
                move.gone()  # SQS gives it out again, or has done so already
            else:
                self._move(move)

    def _patience(self) -> float:
        """Seconds for which a message that cannot be moved is surely still in hand."""
        return float(self._options.get("visibility_timeout") or self._channel().default_visibility_timeout) / 2

    def _move(self, move: Move) -> None:
        try:
            self._publish(move.message, move.queue, move.headers)
        except Exception as exc:
            if self._channel().predefined_queues and self._url(move.queue) is None:
                self._leave(move, "predefined_queues does not list it")
            elif isinstance(exc, ClientError) and _code(exc) in _TOO_LONG:
                self._leave(move, str(exc))
            else:
                raise
        else:
            move.ack()

    def _leave(self, move: Move, why: str) -> None:
        """Give the message back to its queue as it was, for a while out of sight."""
        if move.queue not in self._left:
            logger.warning("tasks cannot be parked in %s and come again every %d s: %s", move.queue, _IN_HAND, why)
            self._left.add(move.queue)
        origin, info = Note.of(move.headers).queue, move.message.delivery_info
        if move.acknowledged:
            self._put(move.message, origin, move.message.headers, delay=_IN_HAND)
            move.ack()
            return
        self._client(origin).change_message_visibility(
            QueueUrl=info["sqs_queue"],
            ReceiptHandle=info["sqs_message"]["ReceiptHandle"],
            VisibilityTimeout=_IN_HAND,
        )
        move.gone()

    def _send(self, message: Message, queue: str, headers: Mapping[str, object], *, then: Callable[[], object]) -> None:
        """During a release, what goes into a parking queue has to wait in it."""
        self._publish(message, queue, headers, delay=_UNTIL_NEXT_LOOK if queue.startswith(PREFIX) else 0)
        then()

    def _publish(self, message: Message, queue: str, headers: Mapping[str, object], *, delay: int = 0) -> None:
        try:
            self._put(message, queue, headers, delay=delay)
        except ClientError as exc:
            if _code(exc) in _NO_QUEUE:
                self._forget(queue)
            shorter = {key: value for key, value in headers.items() if key not in _FOR_SHOW}
            if _code(exc) not in _TOO_LONG or len(shorter) == len(headers):
                raise
            self._put(message, queue, shorter, delay=delay)

    def _put(self, message: Message, queue: str, headers: Mapping[str, object], *, delay: int = 0) -> None:
        copy = self._prepared(message, headers)
        delay = delay or _delay(headers.get("eta"))
        if delay and not queue.endswith(FIFO):
            copy["properties"]["DelaySeconds"] = delay
        self._channel().basic_publish(copy, exchange="", routing_key=queue)

    # --- release ------------------------------------------------------------------------------------------------------

    def release(self, name: str, count: int, *, ahead: bool = False, held: Held | None = None) -> int:
        """See `Lot.release`; ``ahead`` is beyond this way. An empty queue takes a second."""
        targets: Counter[str] = Counter()
        with _in_one_sentence():
            for queue in self._places(name):
                turn = Turn(count, count if held is None else self._sized.pop(queue, _AT_ONCE), held)
                while turn.left and (messages := self._take(queue, min(turn.left, _AT_ONCE))):
                    for message in messages:
                        self._release_one(message, targets, queue, turn)
                count = turn.open
        return self._targets.note(name, targets)

    def _take(self, queue: str, count: int) -> list[Message]:
        """Up to ``count`` messages in hand."""
        channel = self._channel()
        answer = self._client(queue).receive_message(
            QueueUrl=self._url(queue),
            MaxNumberOfMessages=count,
            WaitTimeSeconds=_WAIT,
            VisibilityTimeout=_IN_HAND,
        )
        messages = [self._message(raw, queue) for raw in answer.get("Messages", [])]
        for message in messages:
            channel.qos.append(message, message.delivery_tag)
        return messages

    def _message(self, raw: dict[str, Any], queue: str) -> Message:
        """As kombu reads it; what makes no sense has no headers, and so goes to the quarantine."""
        channel, url = self._channel(), self._url(queue)
        raw["Body"] = AsyncMessage(body=raw["Body"]).decode()
        message: Message
        try:
            payload = channel._message_to_python(raw, queue, url)
            payload["properties"]["delivery_info"]["routing_key"] = queue  # whose client deletes it
            message = channel.Message(payload, channel=channel)
            if isinstance(payload.get("headers"), dict) and isinstance(payload.get("body"), str):
                return message
        except Exception:
            logger.debug("a message in %s cannot be read", queue, exc_info=True)
        info = {"sqs_message": raw, "sqs_queue": url, "routing_key": queue}
        properties = {"delivery_info": info, "delivery_tag": raw["ReceiptHandle"]}
        message = channel.Message({"body": safe_str(raw["Body"]), "properties": properties}, channel=channel)
        return message

    def purge(self, name: str) -> int:
        """See `Lot.purge`; SQS takes up to a minute, and does so once a minute."""
        purged = 0
        with _in_one_sentence():
            for queue in self._places(name):
                count = sum(self._counts(queue) or ())
                try:
                    self._client(queue).purge_queue(QueueUrl=self._url(queue))
                except ClientError as exc:
                    if _code(exc) in _PURGING:
                        raise BrokerError("SQS purges a queue once a minute only; try again in a minute") from exc
                    raise
                purged += count
        return purged


@contextmanager
def _in_one_sentence() -> Iterator[None]:
    """What SQS refuses, as kombu's own transport errors are: something to be told."""
    try:
        yield
    except ClientError as exc:
        raise BrokerError(f"Amazon SQS refused: {exc}") from exc


def _code(exc: ClientError) -> str:
    return str(exc.response.get("Error", {}).get("Code", ""))


def _delay(eta: object) -> int:
    """Whole seconds until then, up to what SQS can wait; it is better at that than a worker's memory."""
    if not isinstance(eta, str):
        return 0
    try:
        seconds = datetime.fromisoformat(eta).timestamp() - time.time()
    except (ValueError, OverflowError):
        return 0
    return max(0, min(int(seconds), 900))
