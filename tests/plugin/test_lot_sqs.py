"""Parking on Amazon SQS: what is made, moved, counted and asked for."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from botocore.exceptions import ClientError
from celery import Celery

from celery_breaker import Breaker
from celery_breaker.clock import ManualClock
from celery_breaker.errors import BrokerError
from celery_breaker.plugin.doctor.workers import workers_online
from celery_breaker.plugin.fleet import AppFleet
from celery_breaker.plugin.parking.lot import Move
from celery_breaker.plugin.parking.note import Note
from celery_breaker.plugin.parking.sqs import SqsLot
from celery_breaker.status import Waiting
from tests.support.servers_sqs import SQSServer
from tests.support.workers import Broker

PARKED = "celery_breaker-parked-svc"


@dataclass
class Scene:
    """An app on SQS, its lot, and a channel that takes messages as a worker's does."""

    app: Celery
    server: SQSServer
    lot: SqsLot
    channel: Any
    done: list[str] = field(default_factory=list)

    def send(self, *args: object, queue: str = "celery", **options: Any) -> None:
        self.app.send_task("tests.add", args, queue=queue, ignore_result=True, **options)

    def take(self, queue: str = "celery") -> Any:
        message = self.channel.basic_get(queue)
        assert message is not None, f"{queue} is empty"
        return message

    def park(self, message: Any, *, name: str = "svc", origin: str = "celery", **more: Any) -> None:
        headers = Note().again(breaker=name, queue=origin, now=1.0).on(message.headers)
        self.move(message, self.lot.place(name, origin), headers, **more)

    def move(self, message: Any, queue: str, headers: Mapping[str, object], **more: Any) -> None:
        def ack() -> None:
            self.done.append("acked")
            if not more.get("acknowledged"):
                message.ack()

        self.lot.move([Move(message, queue, headers, ack=ack, gone=lambda: self.done.append("gone"), **more)])

    def waiting(self, queue: str) -> int:
        return int(self.server.attributes(queue)["ApproximateNumberOfMessages"])

    def hidden(self, queue: str) -> int:
        return int(self.server.attributes(queue)["ApproximateNumberOfMessagesNotVisible"])

    def delayed(self, queue: str) -> int:
        return int(self.server.attributes(queue)["ApproximateNumberOfMessagesDelayed"])

    def limit(self, size: int) -> None:
        """Have the parking queue take no longer messages."""
        url = self.lot._channel()._new_queue(PARKED)
        self.server.client().set_queue_attributes(QueueUrl=url, Attributes={"MaximumMessageSize": str(size)})

    def bodies(self, queue: str) -> list[dict[str, Any]]:
        """All messages in a queue as they lie there, hidden from then on."""
        client, url, found = self.server.client(), self.server.queues()[queue], list[dict[str, Any]]()
        while messages := client.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
            found += [json.loads(base64.b64decode(message["Body"])) for message in messages]
        return found


@pytest.fixture
def make_scene(
    make_app: Callable[[Mapping[str, Any]], Celery], make_broker: Callable[[str], Broker], sqs_server: SQSServer
) -> Iterator[Callable[..., Scene]]:
    with ExitStack() as stack:

        def make(**options: Any) -> Scene:
            make_broker("sqs")
            app = make_app(sqs_server.conf(**options))
            lot = SqsLot(app)
            stack.callback(lot.close)
            channel = stack.enter_context(app.connection_for_read()).default_channel
            return Scene(app, sqs_server, lot, channel)

        yield make


@pytest.fixture
def scene(make_scene: Callable[..., Scene]) -> Scene:
    return make_scene()


# --- what is made and asked for ---------------------------------------------------------------------------------------


def test_no_look_makes_a_queue(scene: Scene) -> None:
    scene.send(1)
    assert scene.lot.size("svc") == 0
    assert scene.lot.look(["svc", "other"]) == {"svc": Waiting(0), "other": Waiting(0)}
    assert scene.lot.release("svc", 10) == 0
    assert scene.lot.purge("svc") == 0
    assert set(scene.server.queues()) == {"celery"}


def test_a_parking_queue_keeps_tasks_for_as_long_as_sqs_can(scene: Scene) -> None:
    scene.send(1)
    scene.park(scene.take())
    assert scene.server.attributes(PARKED)["MessageRetentionPeriod"] == str(14 * 24 * 3600)
    assert scene.server.attributes("celery")["MessageRetentionPeriod"] == str(4 * 24 * 3600), "that is the user's"


def test_a_look_at_many_breakers_asks_only_for_queues_that_exist(scene: Scene) -> None:
    scene.send(1)
    scene.park(scene.take())
    names = ["svc", *(f"b{number}" for number in range(50))]
    scene.server.record()
    found = scene.lot.look(names)
    assert (len(found), found["svc"], found["b7"]) == (51, Waiting(1), Waiting(0))
    assert scene.server.recorded() == {("ListQueues", "celery_breaker-parked-"): 1, ("GetQueueAttributes", PARKED): 1}


def test_what_is_released_takes_one_request_for_ten_and_two_for_each(scene: Scene) -> None:
    for number in range(12):
        scene.send(number)
    for _ in range(12):
        scene.park(scene.take())
    scene.lot.size("svc")
    scene.server.record()
    assert scene.lot.release("svc", 12) == 12
    requests = scene.server.recorded()
    assert requests[("ReceiveMessage", PARKED)] == 2
    assert requests[("SendMessage", "celery")] == requests[("DeleteMessage", PARKED)] == 12
    assert requests.total() <= 2 + 24 + 1, "and once, whether the queue to release to is there"


def test_asking_for_workers_leaves_no_queue_behind(scene: Scene) -> None:
    assert AppFleet(scene.app).workers(wait=0.2) is None
    assert workers_online(scene.app, wait=0.2) is None
    assert scene.server.queues() == {}


# --- moving -----------------------------------------------------------------------------------------------------------


def test_a_task_comes_back_as_it_was(scene: Scene) -> None:
    scene.send(1, 2, task_id="id-1", priority=3, headers={"mine": "x"})
    before = scene.take()
    scene.park(before)
    assert (scene.done, scene.lot.size("svc"), scene.waiting("celery"), scene.hidden("celery")) == (["acked"], 1, 0, 0)
    assert scene.lot.release("svc", 5) == 1
    after = scene.take()
    assert after.payload == before.payload
    assert {key: after.headers[key] for key in before.headers} == before.headers
    assert after.properties["correlation_id"] == "id-1"
    assert after.delivery_info["routing_key"] == "celery"
    assert scene.lot.size("svc") == 0


@pytest.mark.parametrize("name", ["webhook:a.example", "größe & co", "x" * 200])
def test_a_breaker_of_any_name_can_park(scene: Scene, name: str) -> None:
    scene.send(1)
    scene.park(scene.take(), name=name)
    assert scene.lot.look([name, name + "!"]) == {name: Waiting(1), name + "!": Waiting(0)}
    assert scene.lot.release(name, 1) == 1


def test_a_queue_name_prefix_goes_before_parking_queues_too(make_scene: Callable[..., Scene]) -> None:
    scene = make_scene(queue_name_prefix="shop.")
    scene.send(1)
    scene.park(scene.take())
    assert set(scene.server.queues()) == {"shop-celery", "shop-celery_breaker-parked-svc"}
    assert scene.lot.look(["svc"])["svc"] == Waiting(1)
    assert scene.lot.release("svc", 1) == 1
    assert scene.waiting("shop-celery") == 1


def test_a_fifo_task_is_parked_in_a_fifo_queue_and_keeps_its_group_and_its_place(scene: Scene) -> None:
    for number in range(4):
        scene.send(number, queue="orders.fifo", MessageGroupId=f"g{number % 2}", MessageDeduplicationId=f"d{number}")
    for _ in range(4):
        scene.park(scene.take("orders.fifo"), origin="orders.fifo")
    assert set(scene.server.queues()) == {"orders.fifo", PARKED + ".fifo"}
    assert (scene.lot.size("svc"), scene.lot.look(["svc"])["svc"].size) == (4, 4)
    assert scene.lot.release("svc", 4) == 4, "also within the five minutes in which SQS drops doubles"
    came: dict[str, list[int]] = {"g0": [], "g1": []}
    for _ in range(4):
        message = scene.take("orders.fifo")
        came[message.properties["MessageGroupId"]].append(message.payload[0][0])
        message.ack()
    assert came == {"g0": [0, 2], "g1": [1, 3]}


def test_a_task_sent_again_later_waits_in_sqs_and_not_in_a_worker(scene: Scene) -> None:
    scene.send(1)
    message = scene.take()
    eta = datetime.now(timezone.utc) + timedelta(seconds=1000)
    scene.move(message, "celery", {**message.headers, "eta": eta.isoformat()})
    assert scene.server.attributes("celery")["ApproximateNumberOfMessagesDelayed"] == "1"


def test_a_message_that_just_fits_is_parked_without_what_is_only_for_show(scene: Scene) -> None:
    scene.send("x" * 2000)
    message = scene.take()
    scene.limit(len(message.delivery_info["sqs_message"]["Body"]) + 50)
    scene.park(message)
    (parked,) = scene.bodies(PARKED)
    assert "argsrepr" not in parked["headers"]
    assert parked["headers"]["id"] == message.headers["id"]
    assert scene.done == ["acked"]


def test_a_message_that_does_not_fit_stays_in_its_queue_and_out_of_the_way(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    scene.limit(1500)
    for _ in range(2):
        scene.send("x" * 2000)
        scene.park(scene.take())
    scene.send("y")
    assert scene.done == ["gone", "gone"]
    assert (scene.lot.size("svc"), scene.hidden("celery")) == (0, 2)
    assert caplog.text.count("tasks cannot be parked in celery_breaker-parked-svc and come again every 60 s") == 1


def test_a_failed_task_that_cannot_be_parked_goes_back_to_its_queue_for_later(scene: Scene) -> None:
    scene.send("x" * 2000)
    message = scene.take()
    message.ack()
    scene.limit(1500)
    scene.park(message, acknowledged=True)
    assert scene.done == ["acked"]
    assert scene.server.attributes("celery")["ApproximateNumberOfMessagesDelayed"] == "1"


def test_what_could_not_be_moved_for_half_its_time_in_hand_is_left_to_who_gets_it_next(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = ManualClock(100.0)
    monkeypatch.setattr("celery_breaker.plugin.parking.sqs.monotonic", clock)
    scene.send(1)
    message = scene.take()
    with monkeypatch.context() as away:
        away.setattr(scene.lot, "_put", _refused)
        for _ in range(3):
            with pytest.raises(ClientError):
                scene.park(message)
            clock.advance(11)
    scene.park(message)
    assert (scene.done, scene.lot.size("svc")) == (["gone"], 0)


def _refused(*_: object, **__: object) -> None:
    raise ClientError({"Error": {"Code": "RequestThrottled"}}, "SendMessage")


def test_a_parking_queue_that_was_deleted_is_made_again(scene: Scene) -> None:
    scene.send(1)
    scene.park(scene.take())
    scene.server.client().delete_queue(QueueUrl=scene.server.queues()[PARKED])
    scene.send(2)
    message = scene.take()
    with pytest.raises(ClientError):
        scene.park(message)
    scene.lot.close()
    scene.park(message)
    assert scene.lot.size("svc") == 1


# --- release ----------------------------------------------------------------------------------------------------------


def kombu_form(**whole: object) -> str:
    return base64.b64encode(json.dumps(whole).encode()).decode()


STRANGE = [
    "no json",
    "[1]",
    "{}",
    kombu_form(properties=7),
    kombu_form(properties={"delivery_info": []}),
    kombu_form(properties={"delivery_info": {}}),
    kombu_form(properties={"delivery_info": {}}, headers=[1], body="e30="),
    kombu_form(properties={"delivery_info": {}, "body_encoding": "base64"}, headers={}, body="é"),
    kombu_form(properties={"delivery_info": {}}, headers={"celery_breaker": {"queue": 7}}, body="e30="),
]


def test_what_cannot_be_released_goes_to_quarantine_and_lets_the_next_pass(scene: Scene) -> None:
    channel = scene.lot._channel()
    url, client = channel._new_queue(PARKED), scene.server.client()
    for body in STRANGE:
        client.send_message(QueueUrl=url, MessageBody=body)
    scene.send(1)
    scene.park(scene.take(), origin="gone")
    scene.send(2)
    scene.park(scene.take())
    assert scene.lot.release("svc", 20) == 1
    assert scene.lot.size("svc") == 0
    reasons = [body["headers"]["celery_breaker_reason"] for body in scene.bodies("celery_breaker-quarantine")]
    assert len(reasons) == len(STRANGE) + 1
    assert "its queue 'gone' does not exist any more" in reasons


def test_what_has_to_wait_goes_behind_the_others_and_each_once(scene: Scene) -> None:
    for number in range(4):
        scene.send(number)
        scene.park(scene.take(), origin="celery")
    assert scene.lot.size("svc") == 4
    waiting = iter([True, False, True, False])
    assert scene.lot.release("svc", 10, held=lambda note: next(waiting)) == 2
    assert (scene.lot.size("svc"), scene.waiting("celery")) == (2, 2)
    assert scene.delayed(PARKED) == 2, "each look is paid for"


def test_what_a_killed_agent_had_in_hand_counts_and_is_back_within_a_minute(scene: Scene) -> None:
    scene.send(1)
    scene.park(scene.take())
    scene.server.record()
    scene.lot._take(PARKED, 1)
    assert scene.lot.size("svc") == 1
    assert scene.hidden(PARKED) == 1


# --- purging, and what SQS refuses ------------------------------------------------------------------------------------


def test_a_purge_says_how_many_there_were(scene: Scene) -> None:
    for number in range(3):
        scene.send(number)
        scene.park(scene.take())
    assert scene.lot.purge("svc") == 3
    assert scene.lot.size("svc") == 0


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("AWS.SimpleQueueService.PurgeQueueInProgress", "SQS purges a queue once a minute only; try again in a minute"),
        ("AccessDenied", "Amazon SQS refused: .*AccessDenied"),
    ],
)
def test_what_sqs_refuses_is_one_sentence(scene: Scene, monkeypatch: pytest.MonkeyPatch, code: str, says: str) -> None:
    scene.send(1)
    scene.park(scene.take())

    def purge_queue(**_: object) -> None:
        raise ClientError({"Error": {"Code": code, "Message": "no"}}, "PurgeQueue")

    monkeypatch.setattr(scene.lot._client(PARKED), "purge_queue", purge_queue)
    with pytest.raises(BrokerError, match=says):
        scene.lot.purge("svc")


def test_parked_tasks_cannot_be_shown(scene: Scene) -> None:
    with pytest.raises(BrokerError, match="only to who takes them out"):
        scene.lot.peek("svc", offset=0, count=1)


# --- queues that have to be listed ------------------------------------------------------------------------------------


def listed(server: SQSServer, *names: str) -> dict[str, dict[str, str]]:
    client = server.client()
    return {name: {"url": client.create_queue(QueueName=name)["QueueUrl"]} for name in names}


def test_where_queues_are_listed_tasks_are_parked_in_those_alone(
    make_scene: Callable[..., Scene], sqs_server: SQSServer
) -> None:
    sqs_server.reset()
    scene = make_scene()
    scene.app.conf.broker_transport_options["predefined_queues"] = listed(sqs_server, "celery", PARKED)
    with scene.app.connection_for_read() as connection:
        scene.channel = connection.default_channel
        scene.send(1)
        scene.park(scene.take())
        assert scene.lot.look(["svc", "other"]) == {"svc": Waiting(1), "other": Waiting(0)}
        assert scene.lot.release("svc", 1) == 1
        scene.park(scene.take(), name="other")
        assert scene.done == ["acked", "gone"], "the other's queue is not listed"
        assert scene.hidden("celery") == 1


def parks_on_publish(scene: Scene) -> None:
    ours = {"breaker_store": "memory://", "breakers": {"svc": {"tasks": ["tests.*"]}}}
    scene.app.conf.update(breaker_on_publish="park", **ours)
    Breaker("svc").open(reason="by the test", expires=60)


def test_who_publishes_parks_where_a_worker_would(scene: Scene, sqs_server: SQSServer) -> None:
    parks_on_publish(scene)
    scene.send(1)
    scene.send(1, queue="orders.fifo", MessageGroupId="g")
    assert set(sqs_server.queues()) >= {PARKED, PARKED + ".fifo"}
    assert scene.lot.release("svc", 2) == 2
    assert scene.take("orders.fifo").properties["MessageGroupId"] == "g"


def test_who_publishes_sends_where_no_parking_queue_is_listed(scene: Scene, sqs_server: SQSServer) -> None:
    parks_on_publish(scene)
    scene.app.conf.broker_transport_options["predefined_queues"] = listed(sqs_server, "celery")
    scene.send(1)
    assert scene.waiting("celery") == 1
