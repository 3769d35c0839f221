"""What ends a driver that would wait for ever."""

from __future__ import annotations

import socket
import threading
import time

import pytest

from celery_breaker.stores.deadlines import Deadlines, within
from celery_breaker.stores.sql_drivers import in_time
from tests.stores.sql import open_files
from tests.support.limits import at_most, raised_after
from tests.support.waiting import eventually


@pytest.fixture
def pair() -> tuple[socket.socket, socket.socket]:
    return socket.socketpair()


def test_a_socket_whose_answer_is_overdue_is_shut(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    with at_most(0.2, at_least=0.15), Deadlines().watched(ours.fileno(), time.monotonic() + 0.2):
        assert ours.recv(1) == b""
    assert theirs.recv(1) == b""
    ours.close()
    theirs.close()


def test_one_that_was_answered_in_time_is_left_alone(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    deadlines = Deadlines()
    with deadlines.watched(ours.fileno(), time.monotonic() + 0.05):
        theirs.send(b"x")
        assert ours.recv(1) == b"x"
    other = socket.socketpair()
    with deadlines.watched(other[0].fileno(), time.monotonic() + 0.2):
        assert other[0].recv(1) == b"", "by when the first deadline is past as well"
    theirs.send(b"y")
    assert ours.recv(1) == b"y"
    for one in (*pair, *other):
        one.close()


def test_of_many_each_is_shut_at_its_own_time_whatever_the_order() -> None:
    deadlines, ended = Deadlines(), []
    pairs = [socket.socketpair() for _ in range(5)]
    started = time.monotonic()

    def wait(number: int) -> None:
        with deadlines.watched(pairs[number][0].fileno(), started + 0.9 - 0.15 * number):
            pairs[number][0].recv(1)
            ended.append(number)

    threads = [threading.Thread(target=wait, args=(number,)) for number in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ended == [4, 3, 2, 1, 0]
    for one in pairs:
        one[0].close()
        one[1].close()


def test_a_descriptor_that_was_given_to_another_file_meanwhile_is_not_shut() -> None:
    ours, theirs = socket.socketpair()
    number = ours.fileno()
    with Deadlines().watched(number, time.monotonic() + 0.1):
        ours.close()
        other = socket.socketpair()
        assert number in {one.fileno() for one in other}
        assert theirs.recv(1) == b"", "shut, though the driver had closed its own"
        other[0].send(b"x")
        assert other[1].recv(1) == b"x"
    for one in (theirs, *other):
        one.close()


def test_nothing_is_left_open_and_one_thread_looks_after_all() -> None:
    deadlines = Deadlines()
    ours, theirs = socket.socketpair()
    with deadlines.watched(ours.fileno(), time.monotonic() + 60):
        pass
    threads, descriptors = threading.active_count(), len(open_files())
    for _ in range(100):
        with pytest.raises(ZeroDivisionError), deadlines.watched(ours.fileno(), time.monotonic() + 60):
            _ = 1 / 0
    assert threading.active_count() == threads
    assert len(open_files()) == descriptors
    ours.close()
    theirs.close()


# --- giving up --------------------------------------------------------------------------------------------------------


def test_a_result_or_an_error_comes_through() -> None:
    assert within(5.0, lambda: 42, discard=print) == 42
    with pytest.raises(ZeroDivisionError):
        within(5.0, lambda: 1 // 0, discard=print)


def test_what_comes_too_late_is_discarded() -> None:
    done = threading.Event()
    discarded: list[int] = []

    def work() -> int:
        done.wait(20)
        return 42

    with pytest.raises(TimeoutError, match=r"no connection within 0\.1 s"):
        within(0.1, work, discard=discarded.append)
    assert discarded == []
    done.set()
    eventually(lambda: discarded == [42])


class LimitError(Exception):
    """As a soft time limit."""


def test_what_a_time_limit_no_longer_waits_for_is_discarded() -> None:
    done = threading.Event()
    discarded: list[int] = []

    def work() -> int:
        done.wait(20)
        return 42

    with pytest.raises(LimitError), raised_after(0.1, LimitError):
        within(20.0, work, discard=discarded.append)
    done.set()
    eventually(lambda: discarded == [42])


def test_a_time_that_is_over_already_is_no_time() -> None:
    done = threading.Event()
    with pytest.raises(TimeoutError):
        within(-1.0, lambda: done.wait(20), discard=lambda _: None)
    done.set()


@pytest.mark.parametrize(
    "driver", ["psycopg", "psycopg2", "pymysql", "mysqldb", "mysqlconnector", "pg8000", "pysqlite"]
)
def test_what_the_user_said_of_a_time_limit_goes_before_ours(driver: str) -> None:
    ours = in_time(driver, 0.5, given={})
    assert ours
    for name in ours:
        assert name not in in_time(driver, 0.5, given={name: ""})
    assert in_time("of somebody else", 0.5, given={}) == {}
