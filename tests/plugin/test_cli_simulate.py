"""``celery breaker simulate``, called in this process; there is neither store nor broker."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from celery.bin.base import CLIContext
from click.testing import Result

from celery_breaker.plugin.app import breakers_of
from celery_breaker.plugin.cli import breaker
from celery_breaker.plugin.cli import simulate as cli_simulate
from tests.support.commands import runner
from tests.support.processes import free_port

BREAKERS = {
    "smtp": {"max_failures": 3, "failure_rate": 0, "recovery_timeout": 10, "backoff": "constant", "jitter": 0},
    "webhook:{host}": {"failure_rate": 0},
    "local": {"scope": "worker"},
}
QUICK = ("--outage", "20", "--outage-start", "5", "--rate", "5")


class Line:
    """A command line of one app whose store and broker are away."""

    def __init__(self, app: Celery) -> None:
        self.app = app

    def run(self, *args: str) -> Result:
        breakers_of(self.app).forget()
        context = CLIContext(app=self.app, no_color=False, workdir=None)
        return runner().invoke(breaker, ["simulate", *args], obj=context, catch_exceptions=False)

    def json(self, *args: str) -> Any:
        done = self.run(*args, "--json")
        assert done.exit_code == 0, done.stderr
        return json.loads(done.stdout)


@pytest.fixture
def make_line() -> Callable[..., Line]:
    def make(**conf: Any) -> Line:
        away = f"redis://127.0.0.1:{free_port()}/0"
        app = Celery("simulated", broker=away, backend=away, set_as_current=False)
        app.conf.update({"breakers": BREAKERS, **conf})
        return Line(app)

    return make


@pytest.fixture
def line(make_line: Callable[..., Line]) -> Line:
    return make_line()


def test_it_needs_neither_store_nor_broker(line: Line) -> None:
    done = line.run("smtp", *QUICK)
    assert (done.exit_code, done.stderr) == (0, "")
    assert "smtp: 8 workers of" in done.stdout
    assert "3 of 3 calls failed" in done.stdout or "open for 10 s" in done.stdout


def test_a_paused_queue_is_played_through_as_parked_and_that_is_said(make_line: Callable[..., Line]) -> None:
    done = make_line(breakers={"smtp": {**BREAKERS["smtp"], "on_open": "pause"}}).run("smtp", *QUICK)
    assert (done.exit_code, done.stderr) == (0, "on_open='pause' is played through as 'park'.\n")


def test_the_policy_is_the_app_s(line: Line) -> None:
    found = line.json("smtp", *QUICK)["with"]
    opened = [one for one in found["transitions"] if one["after"] == "open"]
    assert {round(one["until"] - one["at"]) for one in opened} == {10}
    assert len(opened) == 2


def test_options_go_over_the_app_s_policy(line: Line) -> None:
    found = line.json("smtp", "-o", "recovery_timeout=4", "--option", "max_failures = 2", *QUICK)["with"]
    first = found["transitions"][0]
    assert round(first["until"] - first["at"]) == 4
    assert first["reason"].startswith(("2 of", "3 of"))


def test_without_a_name_it_is_the_default_policy(line: Line) -> None:
    done = line.run(*QUICK)
    assert done.exit_code == 0
    assert done.stdout.startswith("the default policy: ")


def test_a_name_that_fits_a_template_has_its_policy(line: Line) -> None:
    assert line.run("webhook:a.example", *QUICK).exit_code == 0
    assert line.run("webhook:{host}", *QUICK).exit_code == 0


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        (("smpt",), 5, "did you mean 'smtp'?"),
        (("nothing-like-it",), 5, "leave the name out"),
        (("-o", "max_failure=3"), 1, "did you mean 'max_failures'?"),
        (("-o", "max_failures=0"), 1, "at least 1"),
        (("-o", "max_failures"), 1, "must look like max_failures=3"),
        (("local",), 1, "simulate one worker"),
        (("--rate", "1000000"), 1, "lower the rate"),
        (("--rate", "-1"), 2, "not a rate"),
        (("--failure-rate", "2"), 2, "not a share"),
        (("--outage", "soon"), 2, "not a time"),
        (("--plot", "x.txt"), 1, "must end in"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(line: Line, args: tuple[str, ...], code: int, said: str) -> None:
    done = line.run(*args)
    assert done.exit_code == code
    assert said in done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr


def test_json_is_one_document_with_both_arms(line: Line) -> None:
    found = line.json("smtp", *QUICK)
    assert set(found) == {"with", "without"}
    assert found["with"]["trips"] == 1
    assert found["without"]["trips"] == 0
    assert found["without"]["dead_calls"] > 3 * found["with"]["dead_calls"]
    assert found["with"]["seconds"] == found["without"]["seconds"]


def test_a_seed_makes_it_repeatable(line: Line) -> None:
    one, same, other = (line.run("smtp", *QUICK, "--seed", seed).stdout for seed in ("1", "1", "2"))
    assert one == same != other


def test_without_an_outage_it_shows_that_nothing_trips(line: Line) -> None:
    done = line.run("smtp", "--no-outage")
    assert "The breaker does not trip." in done.stdout
    assert "down from" not in done.stdout


def test_a_policy_that_trips_for_nothing_is_seen(line: Line) -> None:
    found = line.json("smtp", "--no-outage", "--failure-rate", "0.2", "--rate", "20")["with"]
    assert found["relapses"] == found["trips"] > 0


def test_the_outage_begins_when_the_window_is_full(line: Line) -> None:
    assert "down from second 70 " in line.run("--rate", "1").stdout
    assert "down from second 30 " in line.run("--rate", "1", "-o", "failure_window=20").stdout
    assert "down from second 20 " in line.run("--rate", "1", "-o", "failure_window=100 calls").stdout


def test_the_fleet_is_that_of_the_settings(make_line: Callable[..., Line]) -> None:
    slow = make_line(breaker_refresh_interval=10.0, breaker_bus=False, worker_concurrency=3)
    done = slow.run("smtp", *QUICK)
    assert "8 workers of 3 slots" in done.stdout
    usual, rare = (one.json("smtp", "--no-outage")["with"]["operations"] for one in (make_line(), slow))
    assert rare["closed"]["read"] < 0.3 * usual["closed"]["read"]


def test_without_the_bus_nobody_is_told(make_line: Callable[..., Line]) -> None:
    def reads(line: Line) -> int:
        operations = line.json("smtp", *QUICK, "--duration", "60")["with"]["operations"]
        return sum(kinds.get("read", 0) for kinds in operations.values())

    assert reads(make_line()) > reads(make_line(breaker_bus=False)) + 8 * 3  # each transition, to each worker


def test_an_app_that_does_not_share_its_breakers_is_warned_of(make_line: Callable[..., Line]) -> None:
    alone = make_line(breaker_store="memory://").run("smtp", *QUICK)
    assert (alone.exit_code, "do not share their breakers" in alone.stderr) == (0, True)
    told = make_line(result_backend=None, broker_url="amqp://guest@127.0.0.1:1//").run("smtp", *QUICK)
    assert (told.exit_code, "each worker counts for itself" in told.stderr) == (0, True)


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_the_drawing_fits_the_terminal(line: Line, monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    monkeypatch.setattr(cli_simulate, "_WIDTH", columns)
    drawn = line.run("smtp", *QUICK).stdout.split("\n\n")[-1].splitlines()
    assert len(drawn) == 7
    assert all(len(row) <= columns for row in drawn)


def test_what_cannot_show_blocks_gets_letters(line: Line) -> None:
    done = runner(charset="ascii").invoke(
        breaker, ["simulate", *QUICK], obj=CLIContext(app=line.app, no_color=False, workdir=None)
    )
    assert done.exit_code == 0
    assert done.stdout.isascii()
    assert "X" in done.stdout


def test_a_picture_is_drawn_beside_the_text(line: Line, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    done = line.run("smtp", *QUICK, "--plot", str(tmp_path / "outage.svg"))
    assert done.exit_code == 0
    assert "<svg" in (tmp_path / "outage.svg").read_text()


def test_a_picture_without_matplotlib_is_refused_with_the_cure(
    line: Line, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    done = line.run("smtp", *QUICK, "--plot", str(tmp_path / "outage.svg"))
    assert (done.exit_code, done.stdout) == (1, "")
    assert "pip install matplotlib" in done.stderr


def test_the_documentation_shows_what_is_printed(make_line: Callable[..., Line]) -> None:
    text = (Path(__file__).parents[2] / "docs" / "cli.md").read_text()
    [(args, shown)] = re.findall(r"breaker simulate (.+)\n((?:.*\n)+?)```", text)
    line = make_line(breakers={"smtp": {}})
    assert line.run(*args.split()).stdout == shown
    shorter = line.json(*args.split(), "-o", "failure_window=15")["with"]
    assert f"after {shorter['time_to_trip']:.1f} s and {shorter['dead_calls'] - shorter['wasted']} calls" in text
    assert shorter["tasks"]["failed"] == 0
