"""What ``celery breaker`` shows, once and while it watches."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from celery_breaker.plugin.cli import format as cli_format
from celery_breaker.plugin.cli import watch as cli_watch
from celery_breaker.status import Status, words
from tests.plugin.lines import Line, names_in

# --- showing ----------------------------------------------------------------------------------------------------------


def a_status(name: str = "smtp", **values: Any) -> Status:
    defaults: dict[str, Any] = {
        "name": name, "state": "closed", "mode": "auto", "generation": 1, "since": 3.0, "retry_after": 0.0,
        "time_since_fault": None, "trips": 0, "reason": "", "override_reason": "", "override_by": "",
        "override_expires_in": None, "calls": 0, "failures": 0, "slow": 0, "workers": {}, "parked": 0,
        "draining": False, "release_rate": 0.0,
    }  # fmt: skip
    return Status(**{**defaults, **values})


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (0.04, "0 s"),
        (4.25, "4.2 s"),
        (9.96, "10 s"),
        (59.4, "59 s"),
        (59.6, "1 min"),
        (90, "1 min 30 s"),
        (3600, "1 h"),
        (5400.3, "1 h 30 min"),
        (90_000, "1 d 1 h"),
        (86_400 * 400, "400 d"),
    ],
)
def test_durations_are_for_humans(seconds: float, text: str) -> None:
    assert words.human(seconds) == text


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({}, "smtp: closed"),
        ({"state": "open", "retry_after": 18.2, "reason": "it fails"}, "smtp: open; next call in 18 s; it fails"),
        ({"state": "open", "retry_after": 0.0}, "smtp: open; next call now, as a probe"),
        ({"state": "half_open", "parked": 1200}, "smtp: half-open; next call now, as a probe; 1,200 parked"),
        ({"mode": "forced_open", "override_by": "a@b"}, "smtp: forced open by a@b, until lifted"),
        (
            {"mode": "forced_open", "override_expires_in": 60.0, "override_reason": "x"},
            "smtp: forced open for another 1 min: x",
        ),
        ({"mode": "observing", "state": "open"}, "smtp: observing until lifted; state open"),
        ({"draining": True, "parked": 7}, "smtp: closed; 7 parked, going back"),
    ],
)
def test_one_breaker_in_one_line(values: dict[str, Any], said: str) -> None:
    assert words.sentence(a_status(**values)) == said


def test_what_others_wrote_cannot_steer_the_terminal() -> None:
    evil = a_status(state="open", reason="\x1b[2J\nboo", mode="auto", workers={"\x1b[31m": 1})
    for lines in (cli_format.table([evil]), cli_format.detail(evil), [words.sentence(evil)]):
        assert "\x1b" not in "".join(lines)
        assert all("\n" not in shown for shown in lines)


def test_a_table_is_cut_to_the_terminal() -> None:
    long = a_status(state="open", reason="why " * 100)
    assert max(map(len, cli_format.table([long], width=100))) == 100
    assert max(map(len, cli_format.table([long]))) > 400


def test_colours_come_only_when_asked_for() -> None:
    statuses = [a_status(), a_status(state="open"), a_status(mode="observing")]
    assert "\x1b" not in "".join(cli_format.table(statuses) + cli_format.detail(statuses[1]))
    assert "\x1b[31mopen" in "".join(cli_format.table(statuses, colour=True))
    assert "\x1b[31mopen" in "".join(cli_format.detail(statuses[1], colour=True))


def test_list_writes_no_colour_into_a_pipe(line: Line) -> None:
    line.trip("smtp")
    assert "\x1b" not in line.run("list").stdout


# --- watching ---------------------------------------------------------------------------------------------------------


def test_watch_once_is_a_table(line: Line) -> None:
    assert "smtp" in names_in(line.run("watch", "--once").stdout)
    assert "smtp" in {one["name"] for one in line.json("watch", "--once")}


def test_lines_are_a_table_and_then_only_changes(capsys: pytest.CaptureFixture[str]) -> None:
    view = cli_watch.Lines()
    view.update([a_status(), a_status("crm")])
    assert names_in(capsys.readouterr().out) == ["smtp", "crm"]
    view.update([a_status(calls=9, since=4.0, parked=2), a_status("crm")])
    assert capsys.readouterr().out == ""
    view.update([a_status(), a_status("crm", state="open", retry_after=3.0, generation=2)])
    assert re.fullmatch(r"\d\d:\d\d:\d\d  crm: open; next call in 3 s\n", capsys.readouterr().out)


def test_lines_say_once_that_the_store_is_away_and_once_that_it_is_back(capsys: pytest.CaptureFixture[str]) -> None:
    view = cli_watch.Lines()
    view.update([a_status()])
    capsys.readouterr()
    view.lost("gone")
    view.lost("gone")
    view.update([a_status()])
    said = [text[10:] for text in capsys.readouterr().out.splitlines()]
    assert said == ["the store cannot be reached: gone", "the store is back"]


def test_json_lines_are_one_document_each(capsys: pytest.CaptureFixture[str]) -> None:
    view = cli_watch.JsonLines()
    view.update([a_status(), a_status("crm")])
    view.lost("gone")
    view.update([a_status(), a_status("crm", mode="disabled")])
    shown = capsys.readouterr()
    assert [json.loads(text)["mode"] for text in shown.out.splitlines()] == ["auto", "auto", "disabled"]
    assert shown.err == "the store cannot be reached: gone\n"


def test_the_screen_keeps_the_last_table_while_the_store_is_away(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("LINES", "10")
    view = cli_watch.Screen("redis://db", colour=False)
    view.update([a_status(f"b{number}") for number in range(20)])
    first = capsys.readouterr().out
    assert first.startswith("\x1b[2J\x1b[H")
    assert first.count("\n") == 9  # never more than the terminal has
    view.lost("gone")
    second = capsys.readouterr().out
    assert second.startswith("\x1b[H")
    assert "cannot be reached: gone" in second
    assert "b0" in second
