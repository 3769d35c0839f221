"""The desk: what is seen of breakers there, and what an operator does to them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from celery_breaker.core.journal import Event
from celery_breaker.core.record import Mode
from celery_breaker.errors import BrokerError, ConfigurationError, OutOfReachError, StoreError, UnknownBreakerError
from celery_breaker.status import actions
from tests.engine.world import fail
from tests.status.desks import QUICK, Declared, Office, office


@pytest.fixture
def at() -> Office:
    return office()


def test_declared_breakers_and_those_with_a_record_are_listed(at: Office) -> None:
    fail(at.registry, 3, "webhook:a")
    assert at.desk.names() == ["crm", "smtp", "webhook:a"]


def test_a_status_says_how_many_are_parked_and_since_when(at: Office) -> None:
    at.lots.park("smtp", 3, since=at.clock() - 60)
    [status] = at.desk.statuses(["smtp"])
    assert (status.parked, status.oldest_parked) == (3, 60.0)


def test_without_the_broker_parked_counts_are_unknown(at: Office) -> None:
    at.lots.down = True
    [status] = at.desk.statuses(["smtp"])
    assert (status.parked, status.oldest_parked) == (None, None)


def test_the_time_to_drain_follows_from_the_backlog_and_the_rate(at: Office) -> None:
    [status] = at.desk.statuses(["smtp"])
    assert status.time_to_drain is None
    assert replace(status, parked=300, draining=True, release_rate=20.0).time_to_drain == 15.0
    assert replace(status, parked=300, draining=True, release_rate=20.0, state="open").time_to_drain is None


def test_a_probe_that_nobody_makes_is_overdue(at: Office) -> None:
    fail(at.registry, 3)
    [status] = at.desk.statuses(["smtp"])
    assert (status.state, status.overdue) == ("open", 0.0)
    at.clock.advance(45)
    [status] = at.desk.statuses(["smtp"])
    assert status.overdue == 15.0
    at.desk.act("smtp", actions.force(Mode.FORCED_OPEN, by="eve"))
    [status] = at.desk.statuses(["smtp"])
    assert status.overdue == 0.0


def test_a_dead_store_is_an_error_and_not_a_breaker_that_nobody_uses(at: Office) -> None:
    at.server.down = True
    with pytest.raises(StoreError):
        at.desk.statuses(["smtp"])
    with pytest.raises(StoreError):
        at.desk.act("smtp", actions.auto())
    with pytest.raises(StoreError):
        at.desk.history("smtp")


def test_an_action_is_done_and_noted_with_who_and_why(at: Office) -> None:
    at.desk.act("smtp", actions.force(Mode.FORCED_OPEN, by="eve", reason="moving", expires_in=60))
    [status] = at.desk.statuses(["smtp"])
    assert (status.mode, status.override_by, status.override_reason) == ("forced_open", "eve", "moving")
    assert status.override_expires_in == 60
    [entry] = at.desk.history("smtp")
    assert (entry.event, entry.what, entry.by, entry.reason) == (Event.OVERRIDE, "forced_open", "eve", "moving")


def test_the_journal_says_who_ordered_a_change_whoever_overrode_the_breaker_before(at: Office) -> None:
    for action in (
        actions.force(Mode.DISABLED, by="eve"),
        actions.auto(by="adam"),
        actions.force(Mode.DISABLED, by="eve"),
        actions.reset(by="noah"),
    ):
        at.desk.act("smtp", action)
    assert [entry.by for entry in at.desk.history("smtp")] == ["noah", "eve", "adam", "eve"]


def test_the_last_failures_are_shown(at: Office) -> None:
    fail(at.registry, 2)
    assert [entry.what for entry in at.desk.failures("smtp")] == ["ConnectionError()"] * 2


def test_releasing_and_purging_are_noted(at: Office) -> None:
    at.lots.park("smtp", 10)
    assert at.desk.release("smtp", 4, by="eve") == 4
    assert at.desk.purge("smtp", by="adam") == 6
    purged, released = at.desk.history("smtp")
    assert (released.event, released.count, released.by) == (Event.RELEASED, 4, "eve")
    assert (purged.event, purged.count, purged.by) == (Event.PURGED, 6, "adam")


def test_what_could_not_be_done_is_not_noted(at: Office) -> None:
    at.lots.down = True
    with pytest.raises(BrokerError):
        at.desk.purge("smtp", by="eve")
    assert at.desk.history("smtp") == []


@pytest.mark.parametrize(("name", "error"), [("smpt", UnknownBreakerError), ("webhook:{host}", UnknownBreakerError)])
def test_an_unknown_name_is_refused_and_the_nearest_told(name: str, error: type[Exception]) -> None:
    at = office(Declared(declared={"smtp": QUICK, "webhook:{host}": QUICK}))
    with pytest.raises(error, match=r"did you mean 'smtp'|template"):
        at.desk.require(name)


def test_a_breaker_that_each_worker_keeps_is_out_of_reach() -> None:
    at = office(Declared(declared={"gpu": replace(QUICK, scope="worker")}))
    assert (at.desk.names(), at.desk.private_names()) == ([], ["gpu"])
    with pytest.raises(OutOfReachError):
        at.desk.require("gpu")
    at.desk.require("gpu", private=True)


def test_it_knows_the_tasks_behind_a_breaker_also_behind_one_of_a_template(at: Office) -> None:
    assert at.desk.tasks_of("smtp") == ["mail.send"]
    assert at.desk.tasks_of("crm") == ["crm.sync"]


def test_options_are_set_shown_and_unset(at: Office) -> None:
    at.desk.tune("smtp", {"max_failures": 10, "jitter": 0}, by="eve")
    [status] = at.desk.statuses(["smtp"])
    assert status.tuning == {"jitter": 0, "max_failures": 10}
    assert at.desk.policy_of("smtp").max_failures == 10
    assert [(entry.event, entry.what, entry.by) for entry in at.desk.history("smtp")] == [
        (Event.TUNED, "jitter=0, max_failures=10", "eve")
    ]
    at.desk.act("smtp", actions.untune(["jitter"], by="eve"))
    assert at.desk.statuses(["smtp"])[0].tuning == {"max_failures": 10}
    at.desk.act("smtp", actions.untune([], by="eve"))
    assert at.desk.policy_of("smtp") == at.desk.catalogue.of("smtp")


def test_what_cannot_be_set_changes_nothing(at: Office) -> None:
    at.desk.tune("smtp", {"max_failures": 10}, by="eve")
    with pytest.raises(ConfigurationError, match="at least 1"):
        at.desk.tune("smtp", {"max_failures": 0}, by="eve")
    with pytest.raises(ConfigurationError, match="did you mean"):
        at.desk.act("smtp", actions.untune(["max_failure"], by="eve"))
    assert at.desk.statuses(["smtp"])[0].tuning == {"max_failures": 10}
