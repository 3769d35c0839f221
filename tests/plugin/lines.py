"""A command line of ours in this process, on a store and a broker of its own."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from celery import Celery
from celery.bin.base import CLIContext
from click.testing import Result

from celery_breaker.core.record import Record, State
from celery_breaker.plugin.app import breakers_of
from celery_breaker.plugin.cli import breaker
from celery_breaker.plugin.parking.lot import parking_queue
from celery_breaker.plugin.parking.note import Note
from celery_breaker.stores.base import Store
from celery_breaker.stores.url import open_store
from tests.support.commands import runner

if TYPE_CHECKING:
    from tests.support.servers import RedisServer

BREAKERS = {"smtp": {}, "crm": {}, "webhook:{host}": {}, "local": {"scope": "worker"}}


class Line:
    """A command line of one app. Each `run` starts from nothing, as a process would."""

    def __init__(self, app: Celery) -> None:
        self.app = app

    def run(self, *args: str, answer: str | None = None) -> Result:
        breakers_of(self.app).forget()
        context = CLIContext(app=self.app, no_color=False, workdir=None)
        return runner().invoke(breaker, args, obj=context, input=answer, catch_exceptions=False)

    def json(self, *args: str) -> Any:
        return json.loads(self.run(*args, "--json").stdout)

    @property
    def store(self) -> Store:
        return open_store(self.app.conf.breaker_store)

    def write(self, name: str, **record: Any) -> None:
        """Put a record into the store."""
        known = self.record(name)
        assert self.store.swap(replace(known, **record), expected=known.version)

    def record(self, name: str) -> Record:
        return self.store.read([name]).records[name]

    def trip(self, name: str, *, seconds: float = 30.0) -> None:
        now = self.store.now()
        self.write(
            name,
            state=State.OPEN,
            generation=1,
            since=now - 5,
            until=now + seconds,
            trips=1,
            reason="5 of 7 calls failed",
        )

    def park(self, name: str, *numbers: int) -> None:
        """Park tasks that came from the queue ``origin``."""
        note = Note().again(breaker=name, queue="origin", now=0.0)
        for number in numbers:
            self.app.send_task("tests.add", (number, 0), queue=parking_queue(name), headers=note.on({}))

    def size(self, queue: str) -> int:
        with self.app.connection_for_write() as connection:
            return int(connection.default_channel.queue_declare(queue, passive=False).message_count)


@pytest.fixture
def make_line(
    make_app: Callable[..., Celery], make_broker: Callable[[str], Any], redis_server: RedisServer
) -> Callable[..., Line]:
    def make(**conf: Any) -> Line:
        broker = make_broker("redis")
        conf = {**broker.conf, "breakers": BREAKERS, "breaker_store": redis_server.url_for(3), **conf}
        line = Line(make_app(conf))
        line.app.loader.import_default_modules()
        return line

    return make


@pytest.fixture
def line(make_line: Callable[..., Line]) -> Line:
    return make_line()


def names_in(table: str) -> list[str]:
    return [row.split()[0] for row in table.splitlines()[1:]]
