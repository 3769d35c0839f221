"""Pausing in one process: what stops and goes on, and to whom a permit goes."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from celery_breaker import Policy
from celery_breaker.core import machine
from celery_breaker.core.record import Mode, State
from celery_breaker.core.verdict import Verdict
from celery_breaker.plugin.pausing.pausing import Pausing
from tests.engine.world import SilentReporter, World, end, fail, known

POLICY = Policy(max_failures=3, failure_rate=0, recovery_timeout=30, jitter=0, on_open="pause")
TASK = "mail.send"


class Loop:
    """A main loop on which everything happens at once."""

    connections = 1
    busy = False

    def turn(self, call: Callable[[], object]) -> None:
        call()

    def remember(self, queue: Any) -> None:
        """What was in hand has an origin still."""

    def fetched(self, message: Any, queue: str) -> None:
        message.queue = queue


class Queue:
    def __init__(self, name: str) -> None:
        self.name = name
        self.messages: list[Any] = []
        self.asked = 0

    def bind(self, channel: Any) -> Queue:
        return self

    gone = False

    def get(self, *, no_ack: bool, accept: Any) -> Any:
        self.asked += 1
        if self.gone:
            raise LookupError("no queue 'mail'")
        return self.messages.pop(0) if self.messages else None


class TaskConsumer:
    """What kombu's consumer does, as far as it is used."""

    accept = None
    channel = SimpleNamespace()

    def __init__(self, *queues: Queue) -> None:
        self.queues = list(queues)
        self.consumed: set[str] = set()
        self.received: list[Any] = []

    def consume(self) -> None:
        self.consumed = {queue.name for queue in self.queues}

    def cancel_by_queue(self, name: str) -> None:
        self.queues = [queue for queue in self.queues if queue.name != name]
        self.consumed.discard(name)

    def add_queue(self, queue: Queue) -> None:
        self.queues.append(queue)

    def consuming_from(self, name: str) -> bool:
        return name in self.consumed

    def on_message(self, message: Any) -> None:
        self.received.append(message)


class Stage:
    """A worker that consumes ``mail`` and ``other``, and another process with which it shares its breakers."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.other, self.registry = world.process("w1"), world.process("w2")
        self.loop = Loop()
        self.channels, self.waits = 0, False
        self.waiting = SimpleNamespace()
        self.pausing = self.make("smtp")
        self.cell = self.registry.cell("smtp")
        self.mail = Queue("mail")
        self.connect()
        known(self.other)
        known(self.registry)

    def make(self, *names: str) -> Pausing:
        loop: Any = self.loop
        plan, guarded = {"mail": names}, {TASK: names}
        pausing = Pausing(self.registry, loop, plan=plan, guarded=guarded, leases={})
        pausing._background = SilentReporter()  # type: ignore[assignment]
        return pausing

    def connect(self) -> None:
        self.tasks = TaskConsumer(self.mail, Queue("other"))
        self.selected = {"mail": self.mail, "other": object()}
        amqp = SimpleNamespace(queues=SimpleNamespace(consume_from=self.selected))
        consumer = SimpleNamespace(
            task_consumer=self.tasks,
            app=SimpleNamespace(amqp=amqp),
            connection=SimpleNamespace(channel=self.channel),
            channel_errors=(LookupError,),
        )
        self.pausing.connected(consumer)
        self.tasks.consume()

    def channel(self) -> Any:
        self.channels += 1
        if not self.waits:
            return SimpleNamespace()
        count = lambda name, passive: SimpleNamespace(message_count=len(self.mail.messages))  # noqa: E731
        self.waiting = SimpleNamespace(wait_time_seconds=10, queue_declare=count)
        return self.waiting

    def open(self) -> None:
        fail(self.other, 3)
        self.look()

    def half_open(self) -> None:
        """Its interval has passed; somebody else noticed, and has given the permit back."""
        self.open()
        self.world.clock.advance(30)
        ticket = self.other.enter(self.other.cell("smtp"))
        assert ticket is not None
        self.other.give_back(ticket)
        known(self.registry)

    def look(self) -> float:
        """What the threads do in a moment."""
        known(self.registry)
        pause = self.pausing._look()
        self.registry.work()
        return pause

    def permit_free(self) -> bool:
        self.registry.work()
        return self.other.permit_free(self.other.cell("smtp"))


def message(number: int = 1, **headers: Any) -> Any:
    return SimpleNamespace(delivery_tag=number, headers={"task": TASK, **headers}, acknowledged=False)


@pytest.fixture
def stage() -> Stage:
    return Stage(World(POLICY))


def test_only_its_own_queue_stops_and_goes_on_after_the_close(stage: Stage) -> None:
    stage.open()
    assert stage.tasks.consumed == {"other"}
    stage.world.clock.advance(30)
    ticket = stage.other.enter(stage.other.cell("smtp"))
    assert ticket is not None
    end(stage.other, ticket, Verdict.SUCCESS)
    stage.look()
    assert stage.tasks.consumed == {"mail", "other"}


def test_where_all_is_well_it_looks_seldom(stage: Stage) -> None:
    assert stage.look() == 60.0
    stage.open()
    assert stage.look() == 1.0


def test_a_new_connection_never_starts_to_consume_it(stage: Stage) -> None:
    stage.open()
    stage.connect()
    assert stage.tasks.consumed == {"other"}


def test_a_queue_that_was_cancelled_by_hand_meanwhile_stays_so(stage: Stage) -> None:
    stage.open()
    del stage.selected["mail"]
    stage.registry.change(stage.cell, lambda record, now: machine.close(record, now=now))
    stage.look()
    assert stage.tasks.consumed == {"other"}


def test_a_queue_that_was_added_by_hand_meanwhile_stops_again(stage: Stage) -> None:
    stage.open()
    stage.tasks.add_queue(stage.mail)
    stage.tasks.consume()
    stage.pausing.refused(stage.cell)
    assert stage.tasks.consumed == {"other"}


def test_an_answer_that_is_changed_at_run_time_lets_it_go_on(stage: Stage) -> None:
    stage.open()
    stage.registry.change(stage.cell, lambda record, now: machine.retuned(record, (("on_open", "park"),)))
    stage.look()
    assert stage.tasks.consumed == {"mail", "other"}


def test_a_permit_fetches_one_message_that_then_has_it(stage: Stage) -> None:
    stage.half_open()
    stage.mail.messages = [message(1), message(2)]
    stage.look()
    assert [one.delivery_tag for one in stage.tasks.received] == [1]
    assert stage.tasks.received[0].queue == "mail"
    assert not stage.permit_free()
    ticket = stage.pausing.grants.take(stage.tasks.received[0])
    end(stage.registry, ticket, Verdict.SUCCESS)
    assert stage.world.stored().state is State.CLOSED


def test_nobody_fetches_for_a_permit_that_another_has(stage: Stage) -> None:
    stage.half_open()
    stage.mail.messages = [message(1)]
    assert stage.other.enter(stage.other.cell("smtp")) is not None
    stage.look()
    assert stage.tasks.received == []


def test_a_permit_for_which_there_is_no_message_is_given_back(stage: Stage) -> None:
    stage.half_open()
    stage.look()
    assert stage.permit_free()


def test_a_queue_that_gives_no_message_is_said_once(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    stage.half_open()
    stage.mail.gone = True
    stage.look()
    stage.look()
    assert stage.permit_free()
    said = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert said.count("no task can be tried from queue 'mail', set a health_check: no queue 'mail'") == 1
    stage.mail.gone, stage.mail.messages = False, [message(1)]
    stage.look()
    assert len(stage.tasks.received) == 1


def test_one_channel_serves_all_that_is_fetched_over_a_connection(stage: Stage) -> None:
    stage.half_open()
    for _ in range(3):
        stage.look()
    assert (stage.mail.asked, stage.channels) == (3, 1)


def test_where_asking_waits_for_a_message_an_empty_queue_is_not_asked(stage: Stage) -> None:
    stage.waits = True
    stage.half_open()
    stage.look()
    assert (stage.mail.asked, stage.channels) == (0, 1)
    assert stage.waiting.wait_time_seconds == 1, "the count may be old, and nothing else happens meanwhile"
    stage.mail.messages = [message(1)]
    stage.look()
    assert len(stage.tasks.received) == 1


def test_it_asks_again_after_a_moment(stage: Stage) -> None:
    stage.half_open()
    assert stage.look() == 1.0
    stage.mail.messages = [message(1)]
    stage.look()
    assert len(stage.tasks.received) == 1


@pytest.mark.parametrize("headers", [{"eta": "2026-01-01T00:00:00Z"}, {"task": "celery.ping"}])
def test_a_message_that_would_not_use_it_gets_no_permit(stage: Stage, headers: dict[str, str]) -> None:
    stage.half_open()
    stage.mail.messages = [message(1, **headers)]
    stage.look()
    assert len(stage.tasks.received) == 1
    assert stage.permit_free()


def test_a_permit_is_given_back_if_its_message_is_discarded(stage: Stage) -> None:
    stage.half_open()
    stage.mail.messages = [message(1)]
    stage.look()
    stage.tasks.received[0].acknowledged = True
    stage.pausing.apply()
    assert stage.permit_free()


def test_a_permit_is_given_back_if_the_connection_is_lost_before_its_message_runs(stage: Stage) -> None:
    stage.half_open()
    stage.mail.messages = [message(1)]
    stage.look()
    stage.pausing.disconnected()
    stage.connect()
    assert stage.permit_free()


def test_a_permit_is_given_back_if_the_connection_is_lost_before_one_is_fetched(stage: Stage) -> None:
    stage.half_open()
    stage.mail.messages = [message(1)]
    turns: list[Callable[[], object]] = []
    stage.loop.turn = turns.append  # type: ignore[method-assign,assignment]
    stage.look()
    stage.loop.connections += 1
    for turn in turns:
        turn()
    assert stage.tasks.received == []
    assert stage.permit_free()


def test_a_worker_without_a_free_slot_leaves_permits_to_others_for_a_while(stage: Stage) -> None:
    stage.half_open()
    stage.mail.messages = [message(1)]
    stage.loop.busy = True
    stage.look()
    assert stage.tasks.received == []
    stage.world.clock.advance(3)
    stage.look()
    assert len(stage.tasks.received) == 1


def test_nothing_is_fetched_while_another_breaker_pauses_the_queue_too(stage: Stage) -> None:
    stage.pausing = stage.make("smtp", "disk")
    stage.connect()
    known(stage.registry)
    stage.half_open()
    stage.mail.messages = [message(1)]
    disk = stage.registry.cell("disk")
    stage.registry.change(disk, lambda record, now: machine.override(record, Mode.FORCED_OPEN, now=now))
    stage.look()
    assert stage.tasks.received == []


@pytest.mark.parametrize("gives_back", [False, True])
def test_what_a_poll_that_is_under_way_brings_is_taken_unless_kombu_gives_it_back(
    stage: Stage, *, gives_back: bool
) -> None:
    """Or kombu would look for who takes it, and end the worker."""
    takers: dict[str, Any] = {"mail": stage.tasks.on_message, "other": None}
    channel = SimpleNamespace(
        wait_time_seconds=10,
        connection=SimpleNamespace(_callbacks=takers),
        _get_bulk_async=lambda queue, callback: None,
    )
    if gives_back:
        channel._release_messages = None
    cancel, stage.tasks.channel = stage.tasks.cancel_by_queue, channel

    def cancelled(name: str) -> None:
        cancel(name)
        takers.pop(name)

    stage.tasks.cancel_by_queue = cancelled  # type: ignore[method-assign]
    stage.open()
    assert stage.tasks.consumed == {"other"}
    assert ("mail" in takers) is not gives_back
