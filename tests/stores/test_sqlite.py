"""What concerns SQLite alone: files, their locks, and forks."""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from celery_breaker.core.record import Record
from celery_breaker.core.windows import Delta
from celery_breaker.errors import StoreError
from celery_breaker.stores.cas import Key
from celery_breaker.stores.sqlalchemy import SQLAlchemyStore, table
from celery_breaker.stores.sqlite_forks import Gate
from tests.stores.operations import FAILURE, OPEN, OPERATIONS, WINDOW, use_all
from tests.stores.sql import open_files, place_of, values_of
from tests.support.forks import held_by_a_thread, in_child
from tests.support.limits import SLACK, at_most

pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")

Open = Callable[..., SQLAlchemyStore]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "breakers.sqlite"


@pytest.fixture
def store(file: Path) -> Iterator[SQLAlchemyStore]:
    store = SQLAlchemyStore(f"sqlite:///{file}", timeout=20.0)
    yield store
    store.close()


def asked(file: Path, statement: str) -> list[object]:
    with closing(sqlite3.connect(file)) as client:
        return [value for (value,) in client.execute(statement).fetchall()]


@contextmanager
def locked(file: Path, *, how: str = "IMMEDIATE") -> Iterator[None]:
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute(f"BEGIN {how}")
        yield
        other.execute("ROLLBACK")


# --- the file ---------------------------------------------------------------------------------------------------------


def test_the_file_is_switched_to_write_ahead_logging(store: SQLAlchemyStore, file: Path) -> None:
    with closing(sqlite3.connect(file)) as other:
        other.execute("CREATE TABLE somebody_s (x INTEGER)")
    assert asked(file, "PRAGMA journal_mode") == ["delete"]
    use_all(store)
    assert asked(file, "PRAGMA journal_mode") == ["wal"]


def test_a_file_that_cannot_be_switched_since_somebody_reads_it_is_used_as_it_is(
    store: SQLAlchemyStore, file: Path
) -> None:
    use_all(store)
    store.close()
    assert asked(file, "PRAGMA journal_mode = DELETE") == ["delete"]
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("BEGIN")
        other.execute(f"SELECT * FROM {table.name}").fetchall()
        quick = SQLAlchemyStore(f"sqlite:///{file}", timeout=0.3)
        with at_most(0.3):
            assert quick.read(["smtp"]).records["smtp"].version == 1
    use_all(quick, version=1, failures=2)
    quick.close()


@pytest.mark.parametrize("operation", ["tally", "swap", "lease", "release", "forget"])
def test_a_file_that_somebody_else_locks_costs_no_more_than_the_timeout(file: Path, operation: str) -> None:
    store = SQLAlchemyStore(f"sqlite:///{file}", timeout=0.5)
    for first in ("lease", "tally"):
        OPERATIONS[first](store)
    with locked(file):
        with pytest.raises(StoreError, match="database is locked"), at_most(0.5, at_least=0.3):
            OPERATIONS[operation](store)
        for reading in ("read", "names", "now"):
            OPERATIONS[reading](store)
    OPERATIONS[operation](store)
    store.close()


def test_a_file_that_is_locked_from_the_start_costs_no_more_than_the_timeout(file: Path) -> None:
    asked(file, "PRAGMA user_version")
    store = SQLAlchemyStore(f"sqlite:///{file}", timeout=0.5)
    said = r"not done within 0\.5 s: database is locked"
    with locked(file, how="EXCLUSIVE"), pytest.raises(StoreError, match=said), at_most(0.5):
        store.read(["smtp"])
    use_all(store)
    store.close()


def test_threads_that_queue_for_the_file_wait_no_longer_than_the_timeout(file: Path) -> None:
    store = SQLAlchemyStore(f"sqlite:///{file}", timeout=0.5)
    use_all(store)
    took: list[float] = []

    def write() -> None:
        started = time.monotonic()
        with pytest.raises(StoreError, match=r"locked|another operation of this process does not end"):
            store.swap(OPEN, expected=1)
        took.append(time.monotonic() - started)

    with locked(file):
        threads = [threading.Thread(target=write) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(took) == 8
    assert max(took) < 0.5 * 2 + SLACK, "a reading and a writing"
    store.close()


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_folder_that_is_not_there_is_a_store_error_in_one_sentence(tmp_path: Path, operation: str) -> None:
    store = SQLAlchemyStore(f"sqlite:///{tmp_path}/missing/breakers.sqlite", timeout=0.5)
    with pytest.raises(StoreError, match=r"missing/breakers\.sqlite: unable to open database file") as failure:
        OPERATIONS[operation](store)
    assert "\n" not in str(failure.value)


def test_a_file_that_is_read_only_can_be_read(store: SQLAlchemyStore, file: Path) -> None:
    use_all(store)
    reader = SQLAlchemyStore(f"sqlite:///file:{file}?mode=ro&uri=true", timeout=0.5)
    assert reader.read(["smtp"]).records["smtp"].generation == 3
    with pytest.raises(StoreError, match="attempt to write a readonly database") as failure:
        reader.swap(OPEN, expected=1)
    assert "\n" not in str(failure.value)
    reader.close()


def test_a_file_that_is_read_only_and_empty_is_a_store_error_with_the_cure(file: Path) -> None:
    asked(file, "PRAGMA user_version")
    file.touch()
    store = SQLAlchemyStore(f"sqlite:///file:{file}?mode=ro&uri=true", timeout=0.5)
    cure = r"there is no table .* \(attempt to write a readonly database\); let this user create"
    with pytest.raises(StoreError, match=cure) as failure:
        store.read(["smtp"])
    assert "\n" not in str(failure.value)
    store.close()


def test_a_file_that_is_no_database_is_a_store_error(file: Path) -> None:
    file.write_text("certainly not SQLite's format 3 " * 100)
    store = SQLAlchemyStore(f"sqlite:///{file}", timeout=0.5)
    with pytest.raises(StoreError, match="file is not a database"):
        store.read(["smtp"])
    store.close()


def test_a_file_that_was_removed_while_closed_is_begun_anew(store: SQLAlchemyStore, file: Path) -> None:
    use_all(store)
    store.close()
    file.unlink()
    use_all(store)


def test_bytes_where_text_should_be_are_not_ours_and_written_over(
    store: SQLAlchemyStore, file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store.swap(OPEN, expected=0)
    with closing(sqlite3.connect(file)) as other, other:
        other.execute(f"UPDATE {table.name} SET value = x'ff00' WHERE id = ?", [place_of(store, "record", "smtp")])
    assert store.read(["smtp"]).records["smtp"] == Record(name="smtp")
    assert store.swap(OPEN, expected=0)
    errors = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert len(errors) == 1


def test_a_store_in_memory_keeps_what_it_has_while_threads_come_and_go() -> None:
    store = SQLAlchemyStore("sqlite://", timeout=20.0)
    use_all(store)
    workers = [
        threading.Thread(target=lambda: store.tally("smtp", FAILURE, WINDOW, generation=3, worker="b"))
        for _ in range(10)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert store.tally("smtp", Delta(), WINDOW, generation=3, worker="").failures == 11
    store.close()


# --- forks ------------------------------------------------------------------------------------------------------------


def test_children_that_write_while_their_parent_does_corrupt_and_lose_nothing(
    store: SQLAlchemyStore, file: Path
) -> None:
    stop = threading.Event()
    rounds = [0]

    def write() -> None:
        while not stop.is_set():
            store.tally("smtp", FAILURE, WINDOW, generation=0, worker="parent")
            rounds[0] += 1

    writer = threading.Thread(target=write)
    writer.start()
    pids = []
    for number in range(8):
        if not (pid := os.fork()):
            done = 1
            try:
                store.after_fork()
                for _ in range(20):
                    store.tally("smtp", FAILURE, WINDOW, generation=0, worker=str(number))
                done = 0
            finally:
                os._exit(done)
        pids.append(pid)
    assert [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids] == [0] * 8
    stop.set()
    writer.join()
    totals = store.tally("smtp", Delta(), WINDOW, generation=0, worker="")
    assert totals.workers == {"parent": rounds[0], **{str(number): 20 for number in range(8)}}
    assert asked(file, "PRAGMA integrity_check") == ["ok"]


def test_no_descriptor_of_the_file_is_inherited(store: SQLAlchemyStore, file: Path) -> None:
    def inherited() -> list[str]:
        return [path for path in open_files() if file.name in path]

    use_all(store)
    assert inherited()
    assert in_child(inherited) == "[]"
    use_all(store, version=1, failures=2)


@pytest.mark.timeout(30)
def test_a_child_is_not_kept_by_an_operation_of_its_parent_that_does_not_end(store: SQLAlchemyStore) -> None:
    def child() -> float:
        store.after_fork()
        store.now()
        started = time.monotonic()
        assert in_child(lambda: 0) == "0"
        return time.monotonic() - started

    use_all(store)
    gate = values_of(store)._gate
    assert gate is not None
    with held_by_a_thread(gate._lock):
        assert float(in_child(child)) < SLACK, "nor does it wait for it when it forks"
    use_all(store, version=1, failures=2)


def test_a_gate_that_is_held_is_not_shut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("celery_breaker.stores.sqlite_forks._LONGEST_WAIT", 0.01)
    shut: list[int] = []
    gate = Gate(lambda: shut.append(1))
    with gate.within(1.0):
        assert not gate.before_fork()
        with pytest.raises(TimeoutError, match="another operation of this process does not end"), gate.within(0.01):
            pass
    assert shut == []
    assert gate.before_fork()
    assert shut == [1]
    gate.after_fork()
    with gate.within(0.0):
        pass


def test_what_a_key_may_be_called_is_up_to_the_caller(store: SQLAlchemyStore) -> None:
    for name in ("", " ", "a'b", "%s", "\u0000", "☎" * 80, "x" * 1000):
        assert values_of(store).save(Key("record", name), "1", over=None, ttl=None), name
    assert len(store.names()) == 7
