"""What monitors are told of breakers: each change once, and what happens often once a second."""

from __future__ import annotations

from collections import Counter
from types import SimpleNamespace
from typing import Any

import pytest

from celery_breaker.core.policy import Policy
from celery_breaker.core.record import Mode
from celery_breaker.engine.registry import Registry
from celery_breaker.plugin.mainloop import MainLoop
from celery_breaker.plugin.worker.events import Events, Throttle
from celery_breaker.status import actions
from tests.engine.world import SilentReporter
from tests.status.desks import QUICK, Declared, Office, office
from tests.support.waiting import eventually


class Monitor:
    """What is sent, by whom it may be."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, dict[str, Any]]] = []
        self.listens = True

    def send(self, kind: str, **fields: Any) -> None:
        self.heard.append((kind, fields))

    def kinds(self) -> list[str]:
        return [kind for kind, _ in self.heard]


class Worker:
    """A worker's view of the store of an office, and its events."""

    def __init__(self, at: Office, monitor: Monitor, *, listens: bool = True) -> None:
        self.registry = Registry(at.server, policy_of=at.desk.catalogue.of, clock=at.clock, random=lambda: 0.5)
        self.registry.reporter = SilentReporter()  # type: ignore[assignment]
        self.registry.refresh(["smtp", "local"])
        self.events = Events(self.registry, send=monitor.send, monitored=lambda: listens and monitor.listens)
        self.registry.watchers.append(self.events.seen)

    def act(self, action: actions.Action, name: str = "smtp") -> None:
        self.registry.change(self.registry.cell(name), action.step)

    def look(self) -> None:
        self.registry.refresh(["smtp"])


@pytest.fixture
def at() -> Office:
    return office(Declared({"smtp": QUICK, "local": Policy(scope="worker")}))


@pytest.fixture
def monitor() -> Monitor:
    return Monitor()


def told(workers: list[Worker], monitor: Monitor) -> list[str]:
    for worker in workers:
        worker.events.stop()
    return monitor.kinds()


def test_who_makes_a_change_tells_it_and_whoever_sees_it_does_not(at: Office, monitor: Monitor) -> None:
    fleet = [Worker(at, monitor) for _ in range(4)]
    fleet[0].act(actions.force(Mode.FORCED_OPEN, by="eve", reason="we move", expires_in=60))
    eventually(lambda: monitor.heard, "the first should tell it")
    for worker in fleet:
        worker.look()
    assert told(fleet, monitor) == ["breaker-opened"]
    _, fields = monitor.heard[0]
    assert fields == {
        "name": "smtp", "state": "open", "mode": "forced_open", "generation": 0, "retry_after": 60.0, "trips": 0,
        "reason": "we move", "by": "eve",
    }  # fmt: skip


def test_what_nobody_of_the_fleet_did_is_told_by_one_of_them(at: Office, monitor: Monitor) -> None:
    fleet = [Worker(at, monitor) for _ in range(4)]
    at.desk.act("smtp", actions.force(Mode.FORCED_OPEN, by="eve"))
    for worker in fleet:
        worker.look()
    eventually(lambda: monitor.heard, "one should tell it")
    at.desk.act("smtp", actions.auto(by="eve"))
    for worker in fleet:
        worker.look()
    assert told(fleet, monitor) == ["breaker-opened", "breaker-closed"]


def test_a_worker_that_tells_nothing_takes_no_news_from_one_that_does(at: Office, monitor: Monitor) -> None:
    fleet = [Worker(at, monitor, listens=False), Worker(at, monitor)]
    fleet[0].act(actions.force(Mode.FORCED_OPEN, by="eve"))
    fleet[1].look()
    assert told(fleet, monitor) == ["breaker-opened"]


def test_what_a_worker_finds_at_its_start_is_no_news(at: Office, monitor: Monitor) -> None:
    at.desk.act("smtp", actions.force(Mode.FORCED_OPEN, by="eve"))
    newcomer = Worker(at, monitor)
    newcomer.look()
    assert told([newcomer], monitor) == []


def test_old_news_is_not_told(at: Office, monitor: Monitor) -> None:
    sleeper = Worker(at, monitor)
    at.desk.act("smtp", actions.force(Mode.FORCED_OPEN, by="eve"))
    at.clock.advance(61.0)
    sleeper.look()
    assert told([sleeper], monitor) == []


def test_what_changes_no_state_is_not_told(at: Office, monitor: Monitor) -> None:
    worker = Worker(at, monitor)
    for mode in (Mode.OBSERVING, Mode.DISABLED):
        worker.act(actions.force(mode, by="eve"))
    worker.act(actions.reset(by="eve"))
    assert told([worker], monitor) == []


def test_each_worker_tells_of_a_breaker_that_it_keeps_for_itself(at: Office, monitor: Monitor) -> None:
    fleet = [Worker(at, monitor) for _ in range(2)]
    for worker in fleet:
        worker.act(actions.force(Mode.FORCED_OPEN, by="eve"), "local")
    assert told(fleet, monitor) == ["breaker-opened"] * 2


def test_deferred_and_released_tasks_are_counted_and_told_with_their_actions(at: Office, monitor: Monitor) -> None:
    worker = Worker(at, monitor)
    monitor.listens = False
    worker.events.deferred("smtp", "park")
    monitor.listens = True
    worker.events._background._stopping = True  # no thread: what is told is told at the end
    for _ in range(3):
        worker.events.deferred("smtp", "park")
    worker.events.deferred("smtp", "fail")
    worker.events.released("crm", 7)
    worker.events._work()
    assert sorted(monitor.heard) == [
        ("breaker-task-deferred", {"name": "smtp", "count": 4, "actions": {"park": 3, "fail": 1}}),
        ("breaker-task-released", {"name": "crm", "count": 7}),
    ]
    assert all(not kind.startswith("task-") for kind in monitor.kinds())


def test_a_throttle_gives_the_first_at_once_and_the_rest_each_second() -> None:
    throttle = Throttle()
    key, other = ("deferred", "smtp"), ("deferred", "crm")
    throttle.add(key, "park", 1)
    assert throttle.due(10.0) == [(key, Counter(park=1))]
    throttle.add(key, "park", 1)
    throttle.add(key, "retry", 2)
    throttle.add(other, "park", 1)
    assert throttle.due(10.5) == [(other, Counter(park=1))]
    assert throttle.pause(10.5) == pytest.approx(0.5)
    assert throttle.due(11.0) == [(key, Counter(park=1, retry=2))]
    assert throttle.pause(11.0) == 60.0
    assert throttle.due(20.0) == []
    assert throttle._sent == {}, "names that are seen no more take no memory"


# --- whether anybody listens ------------------------------------------------------------------------------------------


class Dispatcher:
    """As much of Celery's as the loop sees."""

    def __init__(self, *, enabled: bool, groups: set[str]) -> None:
        self.enabled = enabled
        self.groups = groups
        self.sent: list[str] = []

    def send(self, kind: str, **fields: Any) -> None:
        if not self.groups or kind.split("-")[0] in self.groups:
            self.sent.append(kind)


@pytest.mark.parametrize(
    ("enabled", "groups", "monitored"),
    [(True, set(), True), (True, {"worker"}, False), (True, {"worker", "task"}, True), (False, set(), False)],
    ids=["-E", "heartbeats only", "enabled by remote control", "no events at all"],
)
def test_monitors_are_told_of_breakers_when_they_are_told_of_tasks(
    enabled: bool, groups: set[str], monitored: bool
) -> None:
    dispatcher = Dispatcher(enabled=enabled, groups=set(groups))
    pool = type("Pool", (), {"__module__": "celery.concurrency.thread"})()
    loop = MainLoop()
    assert not loop.monitored
    loop.attach(SimpleNamespace(event_dispatcher=dispatcher, hub=None, pool=pool))
    assert loop.monitored is monitored
    loop.tell("breaker-opened", name="smtp")
    assert dispatcher.sent == (["breaker-opened"] if monitored else [])
    dispatcher.groups.discard("task")
    loop.tell("breaker-opened", name="smtp")
    assert len(dispatcher.sent) == (2 if monitored and not groups else len(dispatcher.sent))
