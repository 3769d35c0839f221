"""The tutorial, typed in as it stands: its files, its commands, and what it says there is to see."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.docs.pages import DOCS, commands, marked
from tests.support.processes import Process, free_port
from tests.support.servers import RedisServer
from tests.support.waiting import eventually

pytestmark = pytest.mark.integration

PAGE = (DOCS / "tutorial" / "outage.md").read_text()


class Desk:
    """The reader's folder and terminals."""

    def __init__(self, folder: Path, redis: RedisServer) -> None:
        self.folder = folder
        port = str(free_port())
        for name, text in marked(PAGE, "file").items():
            for db in (0, 1):
                text = text.replace(f"redis://localhost:6379/{db}", redis.url_for(db))
            (folder / name).write_text(text.replace("8025", port))
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        self.env = {**os.environ, "PATH": path, "PYTHONUNBUFFERED": "1", "NO_COLOR": "1"}
        self.runs = {name: commands(block) for name, block in marked(PAGE, "run").items()}
        self.terminals: dict[str, Process] = {}

    def start(self, name: str) -> Process:
        if name not in self.terminals:
            (command,) = self.runs[name]
            log = self.folder / f"{name}.log"
            self.terminals[name] = Process(shlex.split(command), name=name, log=log, env=self.env, cwd=self.folder)
        self.terminals[name].start()
        return self.terminals[name]

    def stop(self, name: str) -> None:
        """Ctrl-C."""
        self.terminals[name].signal(signal.SIGINT)
        self.terminals[name].wait()

    def ask(self, command: str) -> str:
        done = subprocess.run(
            command, shell=True, cwd=self.folder, env=self.env, capture_output=True, text=True, timeout=60, check=False
        )
        return done.stdout

    def sent(self) -> int:
        sent = self.folder / "sent.txt"
        return len(sent.read_text().splitlines()) if sent.exists() else 0

    def ordered(self) -> int:
        return max(
            (int(number) for number in re.findall(r"order (\d+)", self.terminals["customers"].logs())), default=0
        )


@pytest.fixture
def desk(tmp_path: Path, make_redis: Callable[..., RedisServer]) -> Iterator[Desk]:
    desk = Desk(tmp_path, make_redis())
    yield desk
    for terminal in desk.terminals.values():
        terminal.stop()


@pytest.mark.timeout(240)
def test_the_shop_rides_out_the_outage_as_the_page_says(desk: Desk) -> None:
    listing = "celery -A shop breaker list"
    assert listing in PAGE
    desk.start("service")
    worker = desk.start("worker")
    worker.wait_for_log("breakers of 1 tasks, kept in .*: the results backend is Redis", timeout=60)
    desk.start("customers")
    eventually(lambda: desk.sent() >= 3, lambda: f"receipts should be sent; {worker.tail()}", timeout=60)
    assert re.search(r"^mail +closed +now +0", desk.ask(listing), re.MULTILINE)

    desk.stop("service")
    worker.wait_for_log(r"breaker 'mail' opened for \S+ s: \d+ failures in a row", timeout=60)
    worker.wait_for_log(r"breaker 'mail' is half_open \(was open\)", timeout=60)
    worker.wait_for_log(r"breaker 'mail' opened for \S+ s: probe failed: URLError", timeout=60)
    assert re.search(r"^mail +open .* in .* probe failed", desk.ask(listing), re.MULTILINE)

    desk.start("service")
    worker.wait_for_log(r"breaker 'mail' is closed \(was half_open\)", timeout=90)
    desk.stop("customers")
    orders = desk.ordered()
    assert orders > 20
    eventually(
        lambda: desk.sent() >= orders, lambda: f"{desk.sent()} of {orders} receipts; {worker.tail()}", timeout=90
    )

    counted, twice = (desk.ask(command).split() for command in desk.runs["count"])
    assert (counted, twice) == ([str(orders)], [])


def test_the_page_needs_no_file_that_it_does_not_give() -> None:
    given = set(marked(PAGE, "file"))
    asked = {word for block in marked(PAGE, "run").values() for word in block.split() if word.endswith(".py")}
    assert asked <= given
