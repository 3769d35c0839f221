"""``celery breaker``, called in this process, on a store and a broker of its own."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import pytest

from celery_breaker.core.record import Mode, Override, State
from celery_breaker.errors import StoreError
from celery_breaker.plugin import signals
from celery_breaker.plugin.cli import breaker
from celery_breaker.plugin.parking.lot import QUARANTINE, parking_queue
from celery_breaker.status import Status, desk
from celery_breaker.stores.redis import RedisStore
from tests.plugin.lines import Line, names_in
from tests.support.commands import runner
from tests.support.processes import free_port

if TYPE_CHECKING:
    from pathlib import Path


# --- looking ----------------------------------------------------------------------------------------------------------


def test_list_shows_what_is_declared_and_what_has_a_record(line: Line) -> None:
    line.write("webhook:a.example", generation=1)
    line.write("of-some-script", generation=1)
    done = line.run("list")
    assert done.exit_code == 0
    assert set(names_in(done.stdout)) >= {"crm", "of-some-script", "smtp", "webhook:a.example"}
    assert "webhook:{host}" not in done.stdout


def test_list_puts_first_what_refuses_calls(line: Line) -> None:
    line.trip("smtp")
    line.run("observe", "webhook:b")
    line.run("open", "webhook:z")
    assert names_in(line.run("list").stdout)[:3] == ["smtp", "webhook:z", "webhook:b"]


def test_list_as_json_is_an_array_of_statuses(line: Line) -> None:
    line.trip("smtp")
    first = line.json("list")[0]
    assert set(first) == {*(field.name for field in fields(Status)), "time_to_drain"}
    assert (first["name"], first["state"], first["parked"]) == ("smtp", "open", 0)
    assert 0 < first["retry_after"] <= 30


def test_list_leaves_out_what_only_workers_know_and_says_so(line: Line) -> None:
    done = line.run("list")
    assert "local" not in names_in(done.stdout)
    assert "local" in done.stderr


def test_list_survives_a_name_in_the_store_that_cannot_be(line: Line) -> None:
    line.write("bad\nname", generation=1)
    done = line.run("list")
    assert done.exit_code == 0
    assert "bad" not in done.stdout


def test_list_without_breakers_says_what_is_declared(make_line: Callable[..., Line]) -> None:
    line = make_line(breakers={"webhook:{host}": {}}, imports=[])
    if line.json("list") == []:  # unless another test's shared tasks name breakers
        assert "webhook:{host}" in line.run("list").stdout


@pytest.mark.parametrize(
    ("record", "code"),
    [
        ({}, 0),
        ({"state": State.OPEN, "until": 9e9}, 3),
        ({"state": State.HALF_OPEN}, 0),
        ({"override": Override(mode=Mode.FORCED_OPEN, since=0)}, 3),
        ({"override": Override(mode=Mode.FORCED_OPEN, since=0, expires=1)}, 0),
        ({"state": State.OPEN, "until": 9e9, "override": Override(mode=Mode.DISABLED, since=0)}, 0),
        ({"state": State.OPEN, "until": 9e9, "override": Override(mode=Mode.OBSERVING, since=0)}, 0),
    ],
)
def test_the_exit_code_of_status_says_whether_calls_are_admitted(line: Line, record: dict[str, Any], code: int) -> None:
    if record:
        line.write("smtp", generation=1, **record)
    assert line.run("status", "smtp").exit_code == code
    assert line.run("status", "smtp", "--json").exit_code == code


def test_status_shows_all_that_is_known(line: Line) -> None:
    line.trip("smtp")
    line.park("smtp", 1, 2)
    shown = line.run("status", "smtp").stdout
    assert shown.startswith("smtp: open\n")
    assert re.search(r"why +5 of 7 calls failed", shown)
    assert re.search(r"next call +in (30|29) s", shown)
    assert re.search(r"parked +2", shown)


def test_status_as_json_is_one_object(line: Line) -> None:
    assert line.json("status", "smtp")["name"] == "smtp"


# --- steering ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "mode"), [("open", Mode.FORCED_OPEN), ("disable", Mode.DISABLED), ("observe", Mode.OBSERVING)]
)
def test_an_override_records_who_why_and_for_how_long(line: Line, command: str, mode: Mode) -> None:
    done = line.run(command, "smtp", "--reason", "mail host moves", "--expires", "15m")
    assert (done.exit_code, done.stderr) == (0, "")
    override = line.record("smtp").override
    assert override is not None
    assert (override.mode, override.reason) == (mode, "mail host moves")
    assert re.fullmatch(r".+@.+", override.by)
    assert override.expires is not None
    assert override.expires - override.since == pytest.approx(900)
    assert "mail host moves" in done.stdout
    assert override.by in done.stdout


def test_an_override_lasts_until_auto_lifts_it(line: Line) -> None:
    line.run("open", "smtp")
    assert line.record("smtp").override is not None
    done = line.run("auto", "smtp")
    assert (done.exit_code, done.stdout) == (0, "smtp: closed\n")
    assert line.record("smtp").override is None


def test_several_breakers_at_once(line: Line) -> None:
    shown = line.json("open", "smtp", "crm", "smtp")
    assert [one["name"] for one in shown] == ["smtp", "crm"]
    assert {one["mode"] for one in shown} == {"forced_open"}


def test_a_wrong_name_among_several_leaves_all_unchanged(line: Line) -> None:
    assert line.run("open", "smtp", "no-such").exit_code == 5
    assert line.record("smtp").override is None


@pytest.mark.parametrize("command", ["close", "reset"])
def test_closing_and_resetting_say_who_did_it_and_why(line: Line, command: str) -> None:
    line.trip("smtp")
    assert line.run(command, "smtp", "--reason", "it is fixed").exit_code == 0
    record = line.record("smtp")
    assert record.state is State.CLOSED
    assert re.fullmatch(r"(closed|reset) by .+@.+: it is fixed", record.reason)
    assert record.trips == (1 if command == "close" else 0)


def test_close_lifts_a_forced_opening(line: Line) -> None:
    line.run("open", "smtp")
    assert line.json("close", "smtp")[0]["mode"] == "auto"


# --- names ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["status", "open", "close", "release", "purge", "auto"])
def test_an_unknown_name_is_an_error_that_names_the_nearest(line: Line, command: str) -> None:
    done = line.run(command, "smpt")
    assert done.exit_code == 5
    assert done.stderr == "Error: no breaker 'smpt' is declared or has a record; did you mean 'smtp'?\n"
    assert "smpt" not in line.store.names()


def test_a_name_that_a_template_could_make_is_known(line: Line) -> None:
    assert line.run("open", "webhook:new.example").exit_code == 0


def test_a_template_is_no_breaker(line: Line) -> None:
    done = line.run("open", "webhook:{host}")
    assert done.exit_code == 5
    assert "template" in done.stderr


def test_create_makes_a_breaker_that_only_code_names(line: Line) -> None:
    assert line.run("open", "of-some-script", "--create").exit_code == 0
    assert line.run("status", "of-some-script").exit_code == 3


@pytest.mark.parametrize("name", ["a\tb", "a\x1b[2Jb", "x" * 201, ""])
def test_a_name_that_cannot_be_is_refused_in_one_line(line: Line, name: str) -> None:
    done = line.run("status", name)
    assert done.exit_code == 2
    assert done.stderr.count("\n") == 1
    assert "\x1b" not in done.stderr


def test_a_breaker_that_each_worker_keeps_for_itself_cannot_be_steered(line: Line) -> None:
    done = line.run("open", "local")
    assert done.exit_code == 1
    assert "scope='worker'" in done.stderr


@pytest.mark.parametrize("words", [("0",), ("-5",), ("nan",), ("inf",), ("soon",), ("",), ("2 weeks",)])
def test_a_time_that_cannot_be_is_refused(line: Line, words: tuple[str, ...]) -> None:
    assert line.run("open", "smtp", "--expires", *words).exit_code == 2
    assert line.record("smtp").override is None


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("1.5", 1.5), ("90s", 90), ("15m", 900), ("2h", 7200), ("1d", 86400)]
)
def test_times_may_have_a_unit(line: Line, text: str, seconds: float) -> None:
    assert line.json("open", "smtp", "--expires", text)[0]["override_expires_in"] == pytest.approx(seconds, abs=1.4)


@pytest.mark.parametrize("command", sorted(set(breaker.commands) - {"doctor", "list", "simulate", "watch", "web"}))
def test_a_missing_name_is_a_usage_error(line: Line, command: str) -> None:
    assert line.run(command).exit_code == 2


# --- what is out of reach ---------------------------------------------------------------------------------------------

EVERYTHING = [("list",), ("status", "smtp"), ("open", "smtp"), ("release", "smtp"), ("purge", "smtp", "-y"), ("watch",)]


@pytest.mark.parametrize("command", EVERYTHING)
def test_a_store_that_is_down_is_an_error_not_a_closed_breaker(make_line: Callable[..., Line], command: Any) -> None:
    line = make_line(breaker_store=f"redis://127.0.0.1:{free_port()}/0")
    done = line.run(*command)
    assert done.exit_code == 4
    assert done.stdout == ""
    assert re.fullmatch(r"Error: the store cannot be reached: .+\n", done.stderr)


@pytest.mark.parametrize("method", ["read", "swap"])
def test_a_store_that_goes_away_in_between_is_not_pretended_to(
    line: Line, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise StoreError("gone")

    monkeypatch.setattr(RedisStore, method, fail)
    done = line.run("open", "smtp")
    assert done.exit_code == 4
    assert done.stdout == ""
    monkeypatch.undo()
    assert line.record("smtp").override is None


def test_a_change_that_others_kept_winning_is_an_error(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RedisStore, "swap", lambda *_, **__: False)
    done = line.run("open", "smtp")
    assert done.exit_code == 1
    assert done.stdout == ""
    assert "try again" in done.stderr


@pytest.mark.parametrize("command", EVERYTHING[:3])
def test_where_no_store_is_shared_there_is_nothing_to_see_or_steer(
    make_line: Callable[..., Line], command: Any
) -> None:
    alone = {"breaker_store": None, "broker_url": "memory://", "breaker_bus": False}
    for conf in ({"breaker_store": "memory://"}, alone):
        done = make_line(**conf).run(*command)
        assert done.exit_code == 1
        assert "set breaker_store to a store that is shared" in done.stderr
        assert done.stderr.count("\n") == 1


def test_parked_tasks_can_be_released_and_purged_without_a_shared_store(make_line: Callable[..., Line]) -> None:
    line = make_line(breaker_store="memory://")
    line.park("smtp", 1, 2)
    line.size("origin")
    assert line.json("release", "smtp", "--count", "1") == {"name": "smtp", "released": 1, "parked": 1}
    assert line.json("purge", "smtp", "--yes") == {"name": "smtp", "purged": 1}


def test_without_the_broker_parked_counts_are_unknown(
    make_line: Callable[..., Line], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(desk, "_PATIENCE", 0.2)
    line = make_line(broker_url=f"redis://127.0.0.1:{free_port()}/0", broker_connection_timeout=0.2)
    done = line.run("list")
    assert done.exit_code == 0
    assert "?" in done.stdout
    assert line.json("status", "smtp")["parked"] is None
    assert line.run("open", "smtp").exit_code == 0  # the announcement is lost, the change is not


def test_without_the_broker_nothing_is_released(make_line: Callable[..., Line]) -> None:
    line = make_line(broker_url=f"redis://127.0.0.1:{free_port()}/0", broker_connection_timeout=0.2)
    done = line.run("release", "smtp")
    assert done.exit_code == 4
    assert "Error: the broker cannot be reached" in done.stderr


def test_a_wrong_setting_is_one_sentence(make_line: Callable[..., Line]) -> None:
    done = make_line(breakers={"smtp": {"max_failure": 3}}).run("list")
    assert done.exit_code == 1
    assert done.stderr == "Error: breaker 'smtp': unknown option 'max_failure'; did you mean 'max_failures'?\n"


# --- parked tasks -----------------------------------------------------------------------------------------------------


def test_release_puts_tasks_back_where_they_came_from(line: Line) -> None:
    line.park("smtp", 1, 2, 3)
    done = line.run("release", "smtp")
    assert (done.exit_code, done.stdout, done.stderr) == (0, "smtp: 3 tasks released, 0 parked\n", "")
    assert line.size("origin") == 3


def test_release_can_be_limited(line: Line) -> None:
    line.park("smtp", 1, 2, 3)
    assert line.json("release", "smtp", "--count", "2") == {"name": "smtp", "released": 2, "parked": 1}
    assert line.size("origin") == 2


def test_release_tells_receivers_of_task_released(line: Line) -> None:
    seen: list[tuple[str, int]] = []

    def receiver(*, name: str, count: int, **_: Any) -> None:
        seen.append((name, count))

    line.park("smtp", 1)
    signals.task_released.connect(receiver)
    try:
        line.run("release", "smtp")
    finally:
        signals.task_released.disconnect(receiver)
    assert seen == [("smtp", 1)]


def test_release_warns_while_the_breaker_refuses_calls(line: Line) -> None:
    line.trip("smtp")
    line.park("smtp", 1)
    done = line.run("release", "smtp", "--json")
    assert done.exit_code == 0
    assert "its tasks are parked again" in done.stderr
    assert json.loads(done.stdout)["released"] == 1


def test_release_tells_of_what_had_to_go_to_quarantine(line: Line) -> None:
    line.app.send_task("tests.add", (1, 1), queue=parking_queue("smtp"))  # knows no queue to go back to
    line.park("smtp", 2)
    done = line.run("release", "smtp")
    assert done.stdout == "smtp: 1 task released, 0 parked\n"
    assert QUARANTINE in done.stderr
    assert line.size(QUARANTINE) == 1


def test_nothing_parked_is_no_error(line: Line) -> None:
    assert line.run("release", "smtp").stdout == "smtp: nothing is parked\n"
    assert line.run("purge", "smtp").stdout == "smtp: nothing is parked\n"


@pytest.mark.parametrize("answer", ["n\n", "\n", ""])
def test_purge_deletes_nothing_without_a_yes(line: Line, answer: str) -> None:
    line.park("smtp", 1, 2)
    done = line.run("purge", "smtp", answer=answer)
    assert done.exit_code == 1
    assert "Delete 2 tasks parked by 'smtp'?" in done.stderr
    assert line.size(parking_queue("smtp")) == 2


@pytest.mark.parametrize("flags", [(), ("--force",), ("-f",), ("--yes",), ("-y",)])
def test_purge_deletes_after_a_yes_or_when_told_not_to_ask(line: Line, flags: tuple[str, ...]) -> None:
    line.park("smtp", 1, 2)
    done = line.run("purge", "smtp", *flags, answer=None if flags else "y\n")
    said = done.stdout.removeprefix(" y\n")  # the answer, which some versions of Click's runner echo
    assert (done.exit_code, said) == (0, "smtp: 2 tasks deleted\n")
    assert ("Delete" in done.stderr) is not bool(flags)
    assert line.size(parking_queue("smtp")) == 0


# --- help -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", sorted(breaker.commands))
def test_each_command_shows_an_example(command: str) -> None:
    shown = runner().invoke(breaker, [command, "--help"]).stdout
    assert f"celery -A proj breaker {command}" in shown
    assert ("--json" in shown) is (command != "web")  # which serves it


def test_the_exit_codes_are_in_the_help() -> None:
    for args in (["--help"], ["status", "--help"]):
        shown = runner().invoke(breaker, args).stdout
        assert re.findall(r"^\s+(\d)  \S", shown, re.MULTILINE) == ["0", "1", "2", "3", "4", "5"]


def test_a_mistyped_command_gets_a_suggestion(line: Line) -> None:
    done = line.run("statsu")
    assert done.exit_code == 2
    assert "status" in done.stderr


def test_importing_the_entry_point_lets_settings_attach_breakers(tmp_path: Path) -> None:
    import subprocess
    import sys

    code = (
        "from celery import signals; before = len(signals.worker_init.receivers); import celery_breaker.plugin.cli;"
        "import sys; assert len(signals.worker_init.receivers) > before;"
        "ours = [name for name in sys.modules if name.startswith('celery_breaker.plugin.cli.')];"
        "assert sorted(name.split('.')[-1] for name in ours) == ['commands', 'options'], f'imports {ours}'"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path, timeout=30)


# --- options that are set ---------------------------------------------------------------------------------------------


def test_options_are_set_shown_and_unset(line: Line) -> None:
    done = line.run("set", "smtp", "max_failures=10", "failure_window=100 calls", "slow_call_duration=none")
    assert (done.exit_code, done.stderr) == (0, "")
    assert "set: failure_window=100 calls, max_failures=10, slow_call_duration=none" in done.stdout
    assert "max_failures=10" in line.run("status", "smtp").stdout
    assert line.json("status", "smtp")["tuning"]["failure_window"] == "100 calls"
    assert line.run("unset", "smtp", "failure_window", "slow_call_duration").exit_code == 0
    assert line.record("smtp").tuning == (("max_failures", 10),)
    assert line.json("unset", "smtp")[0]["tuning"] == {}


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["set", "smtp", "max_failures"], "must look like max_failures=3"),
        (["set", "smtp", "max_failure=3"], "did you mean 'max_failures'"),
        (["set", "smtp", "max_failures=0"], "at least 1"),
        (["set", "smtp", "failure_rate=[1]"], "a number or a word"),
        (["set", "smtp", "scope=worker"], "cannot be set while the fleet runs"),
        (["set", "local", "max_failures=3"], "scope='worker'"),
        (["unset", "smtp", "max_failure"], "did you mean 'max_failures'"),
    ],
)
def test_what_cannot_be_set_is_one_sentence(line: Line, args: list[str], says: str) -> None:
    result = line.run(*args)
    assert result.exit_code == 1
    assert says in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert line.record("smtp").tuning == ()


def test_an_unknown_breaker_gets_no_options(line: Line) -> None:
    result = line.run("set", "smpt", "max_failures=3")
    assert result.exit_code == 5
    assert "did you mean 'smtp'" in result.stderr
