"""The audit: numbered tasks that go in, what came out of them, and the verdict: lost, run twice, still on the way."""

from __future__ import annotations

import itertools
import json
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from tests.chaos.audit_redis import Story
from tests.integration import guarded
from tests.support.servers import RabbitMQServer, RedisServer
from tests.support.waiting import eventually
from tests.support.workers import Broker

if TYPE_CHECKING:
    from tests.support.breakers import Seen
    from tests.support.service import Service

QUEUE = "celery"

COMES_BACK = {
    "visibility_timeout": 5,
    "unacked_restore_interval": 1,
    "unacked_restore_throttle": 1,
    "unacked_mutex_expire": 5,
}
"""Transport options for Redis: what a dead worker had in hand comes back after some 5 s; no living one holds anything
for so long. The mutex too: whoever dies as it holds that one keeps all from coming back for 5 minutes, unless told."""


@dataclass
class Ledger:
    """What was sent, held against what the service noted at the end of each execution."""

    service: Service
    seconds: float = 0.01
    sent: list[int] = field(default_factory=list)
    _numbers: Any = field(default_factory=lambda: itertools.count(1))

    def send(self, count: int) -> None:
        """Send so many tasks; one that cannot be sent raises, and does not count."""
        for _ in range(count):
            number = next(self._numbers)
            guarded.work.apply_async((self.service.folder, number, self.seconds), task_id=str(number))
            self.sent.append(number)

    def executions(self) -> Counter[int]:
        """How often each came to its end, whether the service was up or not."""
        return Counter(int(call.words[0]) for call in self.service.calls())

    def missing(self) -> set[int]:
        """Sent, and not executed to the end so far."""
        return set(self.sent) - set(self.executions())

    def twice(self) -> dict[int, int]:
        """By number, the executions beyond the first."""
        return {number: times - 1 for number, times in self.executions().items() if times > 1}


def audited_redis(make_redis: Any, *args: str) -> Broker:
    """A Redis whose append-only file tells afterwards what became of each message."""
    server = make_redis("--auto-aof-rewrite-percentage", "0", *args, appendonly=True)
    return Broker("redis", {"broker_url": server.url_for(0), "broker_transport_options": COMES_BACK}, server)


def settled(ledger: Ledger, broker: Broker, seen: Seen, *, timeout: float = 60.0) -> None:
    """Wait until nothing is left that could still run: no message queued, parked or in hand.

    The three are not counted in one moment, and a message that is released between two counts is in neither; so what
    has not been executed must moreover be known to have vanished.
    """
    still = _still_redis if isinstance(broker.server, RedisServer) else _still_rabbitmq

    def nothing_left() -> bool:
        return still(broker) + seen.parked() == 0 and ledger.missing() == _swallowed(ledger, broker)

    eventually(
        nothing_left,
        lambda: (
            f"nothing should be left; queued or in hand: {still(broker)}, parked: {seen.parked()}, "
            f"state: {seen.state}, not executed: {sorted(ledger.missing())}"
        ),
        timeout=timeout,
        interval=0.2,
    )


def _swallowed(ledger: Ledger, broker: Broker) -> set[int]:
    """Those of the missing that vanished in kombu's own gap, which only Redis has."""
    missing = ledger.missing()
    if not missing or not isinstance(broker.server, RedisServer):
        return set()
    swallowed = Story.of(broker.server.folder).swallowed
    return {number for number in missing if str(number) in swallowed}


def _still_redis(broker: Broker) -> int:
    assert isinstance(broker.server, RedisServer)
    with broker.server.client(0) as client:
        return int(client.llen(QUEUE)) + int(client.hlen("unacked"))


def _still_rabbitmq(broker: Broker) -> int:
    from kombu import Connection, Queue

    with Connection(broker.url) as connection:
        declared = Queue(QUEUE)(connection.default_channel).queue_declare(passive=True)
    return int(declared.message_count)


def judged(ledger: Ledger, broker: Broker, *, most: int, what: str) -> None:
    """The verdict, printed: nothing lost, and no more run again than the ``most`` that were in hand at the faults.

    With Redis moreover: nothing run again but what the broker gave out again; and what vanished in kombu's own gap is
    told apart.
    """
    twice, swallowed = ledger.twice(), _swallowed(ledger, broker)
    lost = ledger.missing() - swallowed
    excess: dict[int, int] = {}
    if isinstance(broker.server, RedisServer):
        given_again = Story.of(broker.server.folder).again
        excess = {number: times for number, times in twice.items() if times > given_again[str(number)]}
    again = sum(twice.values())
    text = f"{what}: {len(ledger.sent)} sent, {len(lost)} lost, {again} run again (at most {most} were in hand)"
    if swallowed:
        text += f", {len(swallowed)} swallowed by kombu's own gap"
    print(text)  # noqa: T201  (the report that goes with the verdict)
    assert not lost, f"lost: {sorted(lost)}; {text}"
    assert not excess, f"ran more often than the broker gave them out: {excess}; {text}"
    assert again <= most, text


def redelivered(broker: Broker, *, at_least: int) -> int:
    """How many messages RabbitMQ says it gave out again; its word is seconds late, so wait for ``at_least`` so many."""
    assert isinstance(broker.server, RabbitMQServer)
    server, vhost = broker.server, urlsplit(broker.url).path[1:]

    def count() -> int:
        queues = json.loads(server.api("GET", f"queues/{vhost}"))
        ours = [queue for queue in queues if not queue["name"].startswith("celery_breaker.bus.")]
        return sum(queue.get("message_stats", {}).get("redeliver", 0) for queue in ours)

    eventually(lambda: count() >= at_least, lambda: f"{count()} redelivered, {at_least} ran again", timeout=15)
    return count()


def at_moments(*actions: tuple[float, Callable[[], object]]) -> None:
    """Do each at its moment, in seconds from now."""
    start = time.monotonic()
    for moment, action in sorted(actions, key=lambda pair: pair[0]):
        time.sleep(max(0.0, start + moment - time.monotonic()))
        action()
