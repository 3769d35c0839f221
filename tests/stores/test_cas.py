"""`CasStore` on values in memory: writes that lose, and what is not ours to read."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Sequence

import pytest

from celery_breaker.core.record import Record, State, encode
from celery_breaker.core.windows import Delta, Window
from celery_breaker.errors import StoreError
from celery_breaker.stores.cas import CasStore, Held, Key, Loaded
from tests.support.guards import no_sleep

__all__ = ["no_sleep"]

OPEN = Record(name="smtp", state=State.OPEN, generation=3, trips=1)
WINDOW = Window(span=60.0)
FAILURE = Delta().then(failed=True, slow=False)


class FakeValues:
    """Implements `Values`. The next ``losses`` writes come too late: another has written the same text just before."""

    url = "fake://values"

    def __init__(self) -> None:
        self.held: dict[Key, Held] = {}
        self.time = 1000.0
        self.losses = 0.0
        self.ttls: list[float | None] = []
        self.loads = 0
        self._tokens = itertools.count(1)

    def put(self, key: Key, text: str) -> None:
        self.held[key] = Held(text, next(self._tokens))

    def load(self, keys: Sequence[Key]) -> Loaded:
        self.loads += 1
        return Loaded(self.time, {key: self.held[key] for key in keys if key in self.held})

    def save(self, key: Key, text: str, *, over: Held | None, ttl: float | None) -> bool:
        if self.losses > 0:
            self.losses -= 1
            if key in self.held:
                self.put(key, self.held[key].text)
            return False
        if self.held.get(key) != over:
            return False
        self.ttls.append(ttl)
        self.put(key, text)
        return True

    def drop(self, keys: Sequence[Key]) -> None:
        for key in keys:
            self.held.pop(key, None)

    def names(self) -> list[str]:
        return [key.name for key in self.held if key.kind == "record"]

    def now(self) -> float:
        return self.time

    def after_fork(self) -> None:
        """Nothing is inherited."""

    def close(self) -> None:
        """Nothing is open."""


class Setting:
    """A store on fake values, its pauses, and a clock that they turn."""

    def __init__(self) -> None:
        self.values = FakeValues()
        self.pauses: list[float] = []
        self.clock = 0.0
        self.store = CasStore(
            self.values, patience=5.0, pause=self.pause, monotonic=lambda: self.clock, uniform=lambda: 0.5
        )

    def pause(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.clock += seconds

    def tally(self, worker: str = "a") -> int:
        return self.store.tally("smtp", FAILURE, WINDOW, generation=0, worker=worker).failures


@pytest.fixture
def setting() -> Setting:
    return Setting()


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


# --- writes that lose -------------------------------------------------------------------------------------------------


def test_a_write_that_lost_reads_again_and_counts_once(setting: Setting) -> None:
    assert setting.tally("before") == 1
    setting.values.losses = 3
    assert setting.tally() == 2
    assert setting.values.loads == 1 + 4


def test_pauses_between_two_tries_grow_and_are_drawn_by_lot(setting: Setting) -> None:
    setting.values.losses = 8
    setting.tally()
    assert setting.pauses == [0.0005, 0.001, 0.002, 0.004, 0.008, 0.016, 0.025, 0.025]


def test_a_write_that_succeeds_at_once_never_pauses(setting: Setting) -> None:
    setting.tally()
    setting.store.lease("key", "a", limit=1, ttl=60)
    setting.store.release("key", "a")
    assert setting.pauses == []


WRITES: dict[str, Callable[[CasStore], object]] = {
    "window": lambda store: store.tally("smtp", FAILURE, WINDOW, generation=0, worker="a"),
    "lease": lambda store: store.lease("smtp", "b", limit=2, ttl=60),
    "lease, given back": lambda store: store.release("smtp", "a"),
}


@pytest.mark.parametrize("write", WRITES)
def test_a_write_that_keeps_losing_is_given_up_when_patience_ends(setting: Setting, write: str) -> None:
    setting.store.lease("smtp", "a", limit=1, ttl=60)
    setting.values.losses = float("inf")
    kind = write.split(",")[0]
    with pytest.raises(StoreError, match=f"fake://values: {kind} of 'smtp' is written by too many others"):
        WRITES[write](setting.store)
    assert 5.0 < setting.clock < 5.1


def test_a_lease_that_was_taken_between_reading_and_writing_is_not_had_twice(setting: Setting) -> None:
    save = setting.values.save

    def late(key: Key, text: str, *, over: Held | None, ttl: float | None) -> bool:
        setting.values.save = save  # type: ignore[method-assign]
        assert setting.store.lease("key", "faster", limit=1, ttl=60)
        return save(key, text, over=over, ttl=ttl)

    setting.values.save = late  # type: ignore[method-assign]
    assert not setting.store.lease("key", "slower", limit=1, ttl=60)


def test_a_swap_that_lost_is_not_tried_again(setting: Setting) -> None:
    setting.values.losses = 1
    assert not setting.store.swap(OPEN, expected=0)
    assert setting.pauses == []
    assert setting.store.swap(OPEN, expected=0)
    assert not setting.store.swap(OPEN, expected=0), "it is at 1 by now"


def test_what_changes_nothing_writes_nothing(setting: Setting) -> None:
    setting.store.lease("key", "a", limit=1, ttl=60)
    setting.values.ttls.clear()
    setting.store.tally("smtp", Delta(), WINDOW, generation=0, worker="a")
    setting.store.release("key", "nobody")
    setting.store.lease("key", "b", limit=1, ttl=60)
    assert setting.values.ttls == []


def test_windows_and_leases_may_go_in_time_and_records_stay(setting: Setting) -> None:
    setting.tally()
    setting.store.tally("sms", FAILURE, Window(span=86_400.0), generation=0, worker="a")
    setting.store.lease("key", "a", limit=2, ttl=50)
    setting.store.lease("key", "b", limit=2, ttl=10)
    setting.store.release("key", "a")
    setting.store.release("key", "b")
    setting.store.swap(OPEN, expected=0)
    assert setting.values.ttls == [3600.0, 2 * 86_400.0, 50, 50, 10, 1.0, None]


# --- what is not ours to read -----------------------------------------------------------------------------------------

GARBAGE = [
    "",
    "garbage",
    "{}",
    "1",
    "1 ",
    "1 {",
    "x {}",
    "-1 {}",
    "9" * 30 + " {}",
    "null",
    "[]",
    '{"a": "NaN"}',
    "[" * 9999,
]


@pytest.mark.parametrize("text", GARBAGE, ids=range(len(GARBAGE)))
@pytest.mark.parametrize("kind", ["record", "window", "lease"])
def test_what_is_not_ours_is_said_once_and_begun_anew(
    setting: Setting, caplog: pytest.LogCaptureFixture, kind: str, text: str
) -> None:
    key = Key(kind, "smtp")  # type: ignore[arg-type]
    setting.values.put(key, text)
    for _ in range(3):
        record = setting.store.read(["smtp"]).records["smtp"]
        assert (record.state, record.generation) == (State.CLOSED, 0)
        setting.store.tally("smtp", Delta(), WINDOW, generation=0, worker="a")
        setting.store.release("smtp", "nobody")
    said = lines(caplog)
    assert said in ([], [f"fake://values: the {kind} of 'smtp' is not ours to read; begun anew"])
    assert said or (kind, text) == ("lease", "{}"), "a lease that nobody holds"
    assert setting.tally() == 1
    assert setting.store.lease("smtp", "a", limit=1, ttl=60)
    assert setting.store.swap(OPEN, expected=record.version)
    assert setting.store.read(["smtp"]).records["smtp"].generation == 3
    assert lines(caplog) == said


def test_a_record_under_the_name_of_another_is_not_taken_for_it(
    setting: Setting, caplog: pytest.LogCaptureFixture
) -> None:
    setting.values.put(Key("record", "sms"), "4 " + encode(OPEN))
    assert setting.store.read(["sms"]).records["sms"] == Record(name="sms", version=4)
    assert lines(caplog) == ["fake://values: the record of 'sms' is not ours to read; begun anew"]


def test_garbage_that_comes_back_is_said_again(setting: Setting, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(2):
        setting.values.put(Key("record", "smtp"), "garbage")
        version = setting.store.read(["smtp"]).records["smtp"].version
        setting.store.swap(OPEN, expected=version)
        setting.store.read(["smtp"])
    assert len(lines(caplog)) == 2


def test_half_a_surrogate_in_a_reason_is_kept_as_text(setting: Setting) -> None:
    record = Record(name="smtp", reason="\ud800")
    assert setting.store.swap(record, expected=0)
    setting.values.held[Key("record", "smtp")].text.encode()
    assert setting.store.read(["smtp"]).records["smtp"].reason == "\ud800"
