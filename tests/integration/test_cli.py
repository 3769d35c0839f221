"""``celery breaker`` as users call it: a process of its own, beside real workers, on a real Redis."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from celery_breaker.plugin.app import breakers_of
from tests.integration.commands import Commands
from tests.support.processes import Process, free_port
from tests.support.servers import RedisServer
from tests.support.waiting import eventually
from tests.support.workers import Audit, Worker, WorkerFactory, celery_argv, environment


def parked_by(worker: Worker, name: str = "svc") -> int:
    lot = breakers_of(worker.app).open_lot()
    try:
        return lot.size(name)
    finally:
        lot.close()


def test_one_process_opens_and_others_see_it(commands: Callable[..., Commands]) -> None:
    breaker = commands()
    opened = breaker("open", "svc", "--reason", "we move", "--expires", "1h")
    assert (opened.returncode, opened.stderr) == (0, "")
    shown = breaker("status", "svc")
    assert shown.returncode == 3
    assert "we move" in shown.stdout
    assert [one["mode"] for one in breaker.json("list") if one["name"] == "svc"] == ["forced_open"]
    assert breaker("auto", "svc").returncode == 0
    assert breaker("status", "svc").returncode == 0


@pytest.mark.parametrize(
    "conf", [{"breaker_refresh_interval": 600.0}, {"breaker_bus": False}], ids=["by announcement", "by refresh"]
)
def test_workers_notice_and_settings_alone_attach(
    commands: Callable[..., Commands], worker_factory: WorkerFactory, audit: Audit, conf: dict[str, Any]
) -> None:
    breaker = commands(**conf)
    worker = worker_factory(conf=breaker.conf)
    worker.app.send_task("tests.record", (audit.path, "before"))
    audit.wait_for(1)

    def opened_and_parking() -> int:
        breaker("open", "svc")  # anew each time: a worker that has just started may not listen yet
        worker.app.send_task("tests.record", (audit.path, "meanwhile"))
        return parked_by(worker)

    eventually(opened_and_parking, "tasks should be parked", timeout=20)
    breaker("close", "svc")
    eventually(lambda: parked_by(worker) == 0, "the backlog should come back", timeout=20)
    worker.app.send_task("tests.record", (audit.path, "after"))
    eventually(lambda: "after" in audit.lines(), "calls should be admitted again", timeout=20)


def test_what_is_released_to_a_forced_open_breaker_is_parked_again(
    commands: Callable[..., Commands], worker_factory: WorkerFactory, audit: Audit
) -> None:
    breaker = commands()
    breaker("open", "svc")
    worker = worker_factory(conf=breaker.conf)
    for number in range(3):
        worker.app.send_task("tests.record", (audit.path, number))
    eventually(lambda: parked_by(worker) == 3, "all should be parked")
    done = breaker("release", "svc", "--count", "2")
    assert done.returncode == 0
    assert done.stdout.startswith("svc: 2 tasks released")
    assert "parked again" in done.stderr
    eventually(lambda: parked_by(worker) == 3, "all should be parked again")
    assert audit.lines() == []
    breaker("close", "svc")
    assert sorted(audit.wait_for(3)) == ["0", "1", "2"]


def test_purge_asks_first(commands: Callable[..., Commands], worker_factory: WorkerFactory, audit: Audit) -> None:
    breaker = commands()
    breaker("open", "svc")
    worker = worker_factory(conf=breaker.conf)
    worker.app.send_task("tests.record", (audit.path, "x"))
    eventually(lambda: parked_by(worker) == 1, "it should be parked")
    assert breaker("purge", "svc").returncode == 1
    assert breaker("purge", "svc", answer="n\n").returncode == 1
    assert parked_by(worker) == 1
    assert breaker("purge", "svc", answer="y\n").stdout == "svc: 1 task deleted\n"
    assert parked_by(worker) == 0


def test_a_dead_store_ends_each_command_soon_and_says_so(commands: Callable[..., Commands]) -> None:
    breaker = commands(breaker_store=f"redis://127.0.0.1:{free_port()}/0")
    for args in (("list",), ("open", "svc"), ("watch",)):
        started = time.monotonic()
        done = breaker(*args)
        assert time.monotonic() - started < 15
        assert done.returncode == 4
        assert done.stdout == ""
        assert done.stderr.startswith("Error: the store cannot be reached")
        assert done.stderr.count("\n") == 1


def test_a_store_that_hangs_ends_each_command_soon(
    commands: Callable[..., Commands], make_redis: Callable[..., RedisServer]
) -> None:
    server = make_redis()
    breaker = commands(breaker_store=server.url, breaker_store_timeout=0.3)
    server.pause()
    assert breaker("open", "svc").returncode == 4
    server.resume()
    assert breaker("status", "svc").returncode == 0


def test_a_broker_that_hangs_costs_only_the_parked_counts(
    commands: Callable[..., Commands], make_redis: Callable[..., RedisServer]
) -> None:
    server = make_redis()
    breaker = commands(broker_url=server.url)
    server.pause()
    shown = breaker.json("open", "svc")
    assert (shown[0]["mode"], shown[0]["parked"]) == ("forced_open", None)


def test_an_app_without_a_shared_store_is_told_the_cure(celery_command: Any) -> None:
    done = celery_command("breaker", "list", conf={"broker_url": "memory://", "breaker_store": "memory://"})
    assert done.returncode == 1
    assert "breaker_store" in done.stderr
    assert "Traceback" not in done.stderr


def test_where_workers_alone_know_and_none_runs_the_store_is_out_of_reach(celery_command: Any) -> None:
    done = celery_command("breaker", "list", conf={"broker_url": "memory://"})
    assert done.returncode == 4
    assert "no worker answered" in done.stderr
    assert "Traceback" not in done.stderr


def _watching(breaker: Commands, folder: Path, *args: str) -> Process:
    argv = celery_argv("breaker", "watch", "--interval", "0.2", *args)
    return Process(argv, name="watch", log=folder / "watch.log", env=environment(breaker.conf), cwd=folder)


def test_watch_in_a_pipe_says_what_changes(
    commands: Callable[..., Commands],
    make_redis: Callable[..., RedisServer],
    worker_factory: WorkerFactory,
    tmp_path: Path,
) -> None:
    server = make_redis(appendonly=True)
    breaker = commands(breaker_store=server.url)
    watching = _watching(breaker, tmp_path)
    worker_factory.keep(watching)
    watching.start()
    watching.wait_for_log(r"svc +closed")
    breaker("open", "svc", "--reason", "we move")
    watching.wait_for_log(r"svc: forced open by \S+@\S+, until lifted: we move")
    server.stop()
    watching.wait_for_log(r"the store cannot be reached")
    server.start()
    watching.wait_for_log(r"the store is back")
    breaker("auto", "svc")
    watching.wait_for_log(r"svc: closed")
    watching.signal(signal.SIGINT)
    assert watching.wait() == 0
    assert "Traceback" not in watching.logs()
    assert "\x1b" not in watching.logs()


def test_watch_as_json_is_one_document_per_line(
    commands: Callable[..., Commands], worker_factory: WorkerFactory, tmp_path: Path
) -> None:
    breaker = commands()
    watching = _watching(breaker, tmp_path, "--json")
    worker_factory.keep(watching)
    watching.start()
    watching.wait_for_log(r'"svc"')
    breaker("open", "svc")
    watching.wait_for_log(r"forced_open")
    watching.signal(signal.SIGINT)
    watching.wait()
    shown = [json.loads(line) for line in watching.logs().splitlines()]
    assert [one["mode"] for one in shown if one["name"] == "svc"] == ["auto", "forced_open"]


def test_watch_on_a_terminal_redraws_its_table(commands: Callable[..., Commands], tmp_path: Path) -> None:
    breaker = commands()
    ours, theirs = pty.openpty()
    watching = subprocess.Popen(
        celery_argv("breaker", "watch", "--interval", "0.2"),
        stdin=theirs, stdout=theirs, stderr=theirs, cwd=tmp_path, start_new_session=True,
        env={**environment(breaker.conf), "COLUMNS": "120", "LINES": "30"},
    )  # fmt: skip
    seen = b""

    def shows(text: bytes) -> bool:
        nonlocal seen
        seen += os.read(ours, 65536)
        return text in seen

    try:
        eventually(lambda: shows(b"\x1b[32mclosed"), "a closed breaker should be green", timeout=30)
        breaker("open", "svc")
        eventually(lambda: shows(b"\x1b[31mforced open"), "a forced open one should be red", timeout=30)
        assert seen.count(b"\x1b[2J") == 1
        assert seen.count(b"\x1b[H") > 1
        watching.send_signal(signal.SIGINT)
        assert watching.wait(10) == 0
    finally:
        watching.kill()
        watching.wait(10)
        os.close(ours)
        os.close(theirs)
