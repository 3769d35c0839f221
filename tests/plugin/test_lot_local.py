"""What lies in a parking queue in memory, or in a folder, can be looked at where it is."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from kombu.transport import filesystem

from celery_breaker.plugin.app import breakers_of
from celery_breaker.plugin.parking.local import LocalLot
from celery_breaker.plugin.parking.lot import parking_queue
from celery_breaker.plugin.parking.note import Note
from celery_breaker.status import Waiting


@pytest.fixture(params=["memory", "filesystem"])
def app(
    request: pytest.FixtureRequest,
    make_app: Callable[..., Celery],
    make_broker: Callable[[str], Any],
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Celery]:
    monkeypatch.setattr(filesystem, "monotonic", itertools.count(1000).__next__)  # it orders by time, to a millisecond
    conf = {"broker_url": "memory://"} if request.param == "memory" else dict(make_broker("filesystem").conf)
    app = make_app({**conf, "breaker_store": "memory://"})
    yield app
    lot = breakers_of(app).open_lot()
    for name in ("svc", "sv"):
        lot.purge(name)


@pytest.fixture
def lot(app: Celery) -> Iterator[LocalLot]:
    lot = breakers_of(app).open_lot()
    assert isinstance(lot, LocalLot)
    yield lot
    lot.close()


def park(app: Celery, name: str, numbers: range) -> None:
    for number in numbers:
        headers = Note().again(breaker=name, queue="origin", now=1000.0 + number).on({})
        app.send_task("tests.add", (number, 0), queue=parking_queue(name), headers=headers)


def test_a_look_shows_sizes_since_when_and_pages_and_takes_nothing(app: Celery, lot: LocalLot) -> None:
    park(app, "svc", range(5))
    park(app, "sv", range(7, 8))
    assert lot.look(["svc", "sv", "none"]) == {"svc": Waiting(5, 1000.0), "sv": Waiting(1, 1007.0), "none": Waiting(0)}
    pages = [lot.peek("svc", offset=offset, count=2) for offset in (0, 2, 4, 6)]
    assert [[task.since for task in page] for page in pages] == [[1000.0, 1001.0], [1002.0, 1003.0], [1004.0], []]
    assert pages[0][0].task == "tests.add"
    assert pages[0][0].args == "(0, 0)"
    assert lot.size("svc") == 5


def test_a_file_that_cannot_be_read_is_shown_as_unknown(
    make_app: Callable[..., Celery], make_broker: Callable[[str], Any]
) -> None:
    conf = make_broker("filesystem").conf
    app = make_app({**conf, "breaker_store": "memory://"})
    folder = Path(conf["broker_transport_options"]["data_folder_in"])
    (folder / f"0_x.{parking_queue('svc')}.msg").write_bytes(b"\xff{")
    (folder / f"1_x.{parking_queue('svc')}.msg").write_text("[1]")
    lot = breakers_of(app).open_lot()
    assert [task.id for task in lot.peek("svc", offset=0, count=9)] == ["", ""]
    assert lot.look(["svc"]) == {"svc": Waiting(2, None)}
    lot.close()


def test_what_has_to_wait_goes_behind_what_is_parked(app: Celery, lot: LocalLot) -> None:
    app.send_task("tests.add", (0, 0), queue="origin")
    park(app, "svc", range(6))
    assert lot.release("svc", 10, held=lambda note: note.since < 1003.0) == 3
    assert [task.since for task in lot.peek("svc", offset=0, count=9)] == [1000.0, 1001.0, 1002.0]
    assert lot.release("svc", 10, held=lambda note: True) == 0
    assert [task.since for task in lot.peek("svc", offset=0, count=9)] == [1000.0, 1001.0, 1002.0]
