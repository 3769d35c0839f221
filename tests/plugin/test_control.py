"""Remote control, as a worker's main loop hears it: it answers from memory, and hands over what is to be done."""

from __future__ import annotations

import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import click
import pytest
from celery.worker.control import Panel

from celery_breaker.core.journal import Event
from celery_breaker.core.policy import Policy
from celery_breaker.core.record import Mode
from celery_breaker.plugin.worker import control
from celery_breaker.plugin.worker.steering import Steering
from celery_breaker.status import actions
from tests.status.desks import QUICK, Declared, Office, office
from tests.support.waiting import eventually

STEERING = ("breaker_open", "breaker_disable", "breaker_observe", "breaker_auto", "breaker_close", "breaker_reset")


class Worker:
    """As much of a worker as a command sees."""

    def __init__(self, at: Office) -> None:
        self.steering = Steering(lambda: at.desk)
        side = SimpleNamespace(registry=at.registry, policies=at.desk.catalogue, steering=self.steering)
        self.state = SimpleNamespace(consumer=SimpleNamespace(controller=SimpleNamespace(breakers=side)))

    def __call__(self, command: str, **said: Any) -> Any:
        return json.loads(json.dumps(Panel.data[command](self.state, **said)))

    def done(self) -> None:
        self.steering.stop()


class Templates(Declared):
    """A catalogue that tells a template from a name, as an app's does."""

    def names(self) -> list[str]:
        return [name for name in self.declared if "{" not in name]


@pytest.fixture
def at() -> Office:
    policies = {"smtp": QUICK, "crm": QUICK, "webhook:{host}": QUICK, "local": Policy(scope="worker")}
    return office(Templates({**policies, "judged": Policy(classify=len)}))  # type: ignore[arg-type]


@pytest.fixture
def worker(at: Office) -> Worker:
    return Worker(at)


def shown(worker: Worker, *names: str) -> dict[str, Any]:
    return {one["name"]: one for one in worker("breakers", names=list(names))["breakers"]}


def test_a_worker_shows_what_it_has_in_memory_and_asks_nobody(at: Office, worker: Worker) -> None:
    at.registry.refresh(["smtp"])
    at.server.down = True
    answer = worker("breakers")
    assert (answer["connected"], answer["left_out"]) == (True, 0)
    assert [one["name"] for one in answer["breakers"]] == ["crm", "judged", "local", "smtp"]
    smtp = shown(worker, "smtp")["smtp"]
    assert (smtp["state"], smtp["mode"], smtp["generation"], smtp["known"]) == ("closed", "auto", 0, True)
    assert smtp["policy"]["max_failures"] == 3
    assert not shown(worker, "crm")["crm"]["known"]
    assert shown(worker, "judged")["judged"]["policy"]["classify"] == "len"


def test_a_worker_that_lost_the_store_says_so_and_changes_nothing(at: Office, worker: Worker) -> None:
    at.registry.refresh(["smtp"])
    at.server.down = True
    at.registry.refresh(["smtp"])
    assert worker("breakers")["connected"] is False
    assert "does not reach the store" in worker("breaker_open", name="smtp")["error"]
    assert at.registry.cell("smtp").record.override is None


def test_an_answer_shows_no_more_than_it_can_carry(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "_MANY", 2)
    answer = worker("breakers")
    assert (len(answer["breakers"]), answer["left_out"]) == (2, 2)


@pytest.mark.parametrize("command", STEERING)
def test_what_nobody_knows_is_answered_with_the_nearest_name(worker: Worker, command: str) -> None:
    assert worker(command, name="smpt")["error"].endswith("did you mean 'smtp'?")
    assert "did you mean" in worker("breakers", names=["smtp", "cmr"])["error"]


@pytest.mark.parametrize("command", STEERING)
@pytest.mark.parametrize("name", ["", None, 7, [], {}, "webhook:{host}"])
def test_what_is_no_name_is_answered_and_raises_nothing(worker: Worker, command: str, name: object) -> None:
    assert worker(command, name=name)["error"]
    assert worker(command)["error"]


@pytest.mark.parametrize(
    "said",
    [{"expires": -1}, {"expires": "soon"}, {"expires": float("nan")}, {"expires": True}, {"expires": []},
     {"expires": 10**400}, {"reason": 7}, {"by": None}],
    ids=["negative", "no time", "no number", "a truth", "a list", "too long", "no reason", "nobody"],
)  # fmt: skip
def test_a_value_that_cannot_be_is_answered_and_nothing_is_done(
    at: Office, worker: Worker, said: dict[str, object]
) -> None:
    assert worker("breaker_open", name="smtp", **said)["error"]
    worker.done()
    assert at.desk.history("smtp") == []


def test_an_order_is_done_though_the_answer_does_not_wait_for_it(at: Office, worker: Worker) -> None:
    answer = worker("breaker_open", name="smtp", reason="we move", expires="2h", by="eve")
    assert answer == {"ok": "breaker_open of 'smtp' is under way"}
    eventually(lambda: at.registry.cell("smtp").record.mode is Mode.FORCED_OPEN, "it should be forced open")
    [status] = at.desk.statuses(["smtp"])
    assert (status.override_by, status.override_reason) == ("eve", "we move")
    assert status.override_expires_in == 7200.0
    worker.done()


@pytest.mark.parametrize(
    ("command", "mode"),
    [("breaker_open", "forced_open"), ("breaker_disable", "disabled"), ("breaker_observe", "observing")],
)
def test_each_override_by_its_command(at: Office, worker: Worker, command: str, mode: str) -> None:
    worker(command, name="smtp")
    worker.done()
    assert at.registry.cell("smtp").record.mode == mode
    another = Worker(at)
    another("breaker_auto", name="smtp")
    another.done()
    assert at.registry.cell("smtp").record.mode is Mode.AUTO
    assert [entry.by for entry in at.desk.history("smtp")] == ["celery control"] * 2


def test_a_breaker_that_each_worker_keeps_for_itself_is_steered_in_each(at: Office, worker: Worker) -> None:
    worker("breaker_open", name="local")
    worker.done()
    assert shown(worker, "local")["local"]["mode"] == "forced_open"
    assert "local" not in at.server.names(), "nobody else knows"


def test_close_and_reset(at: Office, worker: Worker) -> None:
    at.desk.act("smtp", actions.force(Mode.FORCED_OPEN, by="eve"))
    worker("breaker_close", name="smtp", reason="it is fixed")
    worker("breaker_reset", name="smtp")
    worker.done()
    record = at.registry.cell("smtp").record
    assert (record.override, record.generation, record.reason) == (None, 1, "reset by celery control")


@pytest.mark.parametrize("command", STEERING)
def test_a_fleet_that_hears_a_broadcast_makes_one_change_of_it(at: Office, command: str) -> None:
    if command in ("breaker_auto", "breaker_close"):
        at.desk.act("smtp", actions.force(Mode.FORCED_OPEN, by="eve"))
    before = at.registry.cell("smtp").record.version
    fleet = [Worker(at) for _ in range(8)]
    for worker in fleet:
        worker(command, name="smtp")
    for worker in fleet:
        worker.done()
    assert at.registry.cell("smtp").record.version == before + 1
    noted = [entry for entry in at.desk.history("smtp") if entry.by == "celery control"]
    assert len(noted) == 1
    assert noted[0].event in (Event.OVERRIDE, Event.TRANSITION)


def test_an_order_that_fails_is_logged_in_one_line(
    at: Office, worker: Worker, caplog: pytest.LogCaptureFixture
) -> None:
    at.server.down = True
    worker("breaker_open", name="smtp")
    worker.done()
    said = [record.message for record in caplog.records if record.name.endswith("steering")]
    assert len(said) == 1
    assert said[0].startswith("breaker_open of 'smtp' was not done")


def test_a_worker_that_guards_nothing_says_so() -> None:
    state: Any = SimpleNamespace(consumer=SimpleNamespace(controller=SimpleNamespace(breakers=None)))
    for command in ("breakers", *STEERING):
        assert "guards no task" in Panel.data[command](state, name="smtp")["error"]


@pytest.mark.parametrize("command", STEERING)
def test_the_command_line_knows_arguments_and_help(command: str) -> None:
    meta = Panel.meta[command]
    assert meta.type == "control"
    assert meta.help and meta.signature.startswith("NAME")
    assert [name for name, _ in meta.args] == ["name", "reason", "expires"][: len(meta.args)]


def test_a_time_that_is_none_never_leaves_the_command_line() -> None:
    kind: Callable[[str], object] = dict(Panel.meta["breaker_open"].args)["expires"]
    assert kind("15m") == 900.0
    with pytest.raises(click.UsageError, match="write 90, 90s, 15m"):
        kind("soon")
