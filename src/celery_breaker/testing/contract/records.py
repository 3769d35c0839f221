"""Records: reading, swapping, listing and forgetting them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from celery_breaker.core.record import Mode, Override, Record, State
from celery_breaker.core.windows import Delta, Window
from celery_breaker.stores.base import Store
from celery_breaker.testing.contract.access import Opener, StoreAccess

__all__ = ["RecordContract"]

FULL = Record(
    name="smtp",
    state=State.OPEN,
    generation=3,
    since=100.5,
    until=130.25,
    trips=2,
    last_fault=99.0,
    reason="5 of 5 calls failed",
    override=Override(mode=Mode.FORCED_OPEN, since=1.0, expires=2.0, reason="Wartung ☕", by="eve"),
    draining=True,
    ramp=20.0,
)
NAMES = ["smtp", "x" * 200, "日" * 200, "Zürich 🏦", "a:b{c}d}", "{", "}", "%s 'quoted' \"both\" \\", " "]


def read(store: Store, name: str = "smtp") -> Record:
    return store.read([name]).records[name]


class RecordContract(StoreAccess):
    """The state of each breaker, written by compare-and-set."""

    def test_a_name_never_written_has_a_fresh_record(self, store: Store) -> None:
        snapshot = store.read(["smtp", "sms"])
        assert snapshot.records == {"smtp": Record(name="smtp"), "sms": Record(name="sms")}
        assert snapshot.records["smtp"].version == 0

    def test_reading_does_not_write(self, store: Store) -> None:
        read(store)
        assert store.names() == []

    def test_reading_nothing_tells_the_time(self, store: Store) -> None:
        snapshot = store.read([])
        assert snapshot.records == {} and snapshot.now > 0

    def test_what_is_swapped_in_is_read_back_by_everyone(self, connect: Opener) -> None:
        assert connect().swap(FULL, expected=0)
        assert read(connect()) == replace(FULL, version=1)

    def test_each_swap_is_the_next_version_whatever_the_record_says(self, store: Store) -> None:
        for version in range(5):
            assert store.swap(replace(FULL, version=77, generation=version), expected=version)
            assert read(store) == replace(FULL, version=version + 1, generation=version)

    @pytest.mark.parametrize("expected", [0, 2, 99])
    def test_a_swap_of_another_version_changes_nothing(self, store: Store, expected: int) -> None:
        assert store.swap(FULL, expected=0)
        assert not store.swap(replace(FULL, generation=9), expected=expected)
        assert read(store) == replace(FULL, version=1)

    def test_a_swap_of_what_was_never_written_fails_unless_expected(self, store: Store) -> None:
        assert not store.swap(FULL, expected=1)
        assert read(store).version == 0

    @pytest.mark.parametrize("name", NAMES)
    def test_any_name_that_is_allowed_works_everywhere(self, store: Store, name: str) -> None:
        window = Window(span=60.0)
        assert store.swap(Record(name=name, generation=1), expected=0)
        assert read(store, name) == Record(name=name, generation=1, version=1)
        assert store.names() == [name]
        assert store.tally(name, Delta(calls=1, failures=1), window, generation=1, worker="w:1:ü").workers == {
            "w:1:ü": 1
        }
        assert store.lease(f"{name}:1:permit", "w", limit=1, ttl=60)
        assert not store.lease(f"{name}:1:permit", "v", limit=1, ttl=60)
        store.forget(name)
        assert read(store, name) == Record(name=name)

    def test_names_that_look_alike_are_apart(self, store: Store) -> None:
        names = ["a", "A", "a ", "a:", "a}:record", "{a}", "a:window", "names", "a:0:permit", "a\u0301", "\u00e1"]
        for number, name in enumerate(names):
            assert store.swap(Record(name=name, generation=number), expected=0)
        assert sorted(store.names()) == sorted(names)
        assert [store.read(names).records[name].generation for name in names] == list(range(len(names)))

    def test_ten_thousand_names_are_read_in_one_go(self, store: Store) -> None:
        names = [f"webhook:{number}" for number in range(10_000)]
        for name in names[::1000]:
            assert store.swap(Record(name=name, generation=7), expected=0)
        records = store.read(names).records
        assert list(records) == names
        assert [name for name, record in records.items() if record.generation == 7] == names[::1000]

    def test_ten_thousand_breakers_are_all_listed_and_read(self, store: Store) -> None:
        names = [f"webhook:{number}" for number in range(self.breakers)]
        for number, name in enumerate(names):
            assert store.swap(Record(name=name, generation=number), expected=0)
        assert sorted(store.names()) == sorted(names)
        assert [record.generation for record in store.read(names).records.values()] == list(range(self.breakers))

    def test_a_name_may_be_asked_for_twice(self, store: Store) -> None:
        assert list(store.read(["a", "a"]).records) == ["a"]

    def test_a_long_reason_is_kept(self, store: Store) -> None:
        record = Record(name="smtp", reason="Ü" * 10_000 + "\x00\n'\"")
        assert store.swap(record, expected=0)
        assert read(store).reason == record.reason

    def test_half_a_character_in_a_reason_is_kept(self, store: Store) -> None:
        """A shell that speaks Latin-1 gives one to Python, and it must not seem that the store is out of reach."""
        record = Record(name="smtp", reason="gesperrt f\udcfcr heute")
        assert store.swap(record, expected=0)
        assert read(store).reason == record.reason

    def test_every_breaker_with_a_record_is_listed_once(self, store: Store) -> None:
        for version in range(2):
            for name in ("a", "b"):
                assert store.swap(Record(name=name), expected=version)
        assert sorted(store.names()) == ["a", "b"]

    def test_forgetting_leaves_nothing(self, store: Store) -> None:
        window = Window(span=60.0)
        for name in ("smtp", "sms"):
            store.swap(replace(FULL, name=name), expected=0)
            store.tally(name, Delta(calls=3, failures=3), window, generation=3, worker="a")
        store.forget("smtp")
        store.forget("never written")
        assert store.names() == ["sms"]
        assert read(store) == Record(name="smtp")
        assert store.tally("smtp", Delta(), window, generation=3, worker="a").calls == 0
        assert store.tally("sms", Delta(), window, generation=3, worker="a").calls == 3
        assert store.swap(FULL, expected=0)

    def test_what_was_forgotten_is_not_written_over(self, store: Store) -> None:
        assert store.swap(FULL, expected=0)
        store.forget("smtp")
        assert not store.swap(FULL, expected=1)
        assert store.names() == []

    def test_all_times_are_of_one_clock_which_does_not_go_back(self, store: Store) -> None:
        window = Window(span=60.0)
        times = []
        for _ in range(20):
            times += [store.now(), store.read(["smtp"]).now]
            times.append(store.tally("smtp", Delta(calls=1), window, generation=0, worker="a").now)
        assert times == sorted(times)
        assert times[-1] - times[0] < 60

    def test_a_store_may_be_used_again_after_it_was_closed(self, store: Store) -> None:
        store.swap(FULL, expected=0)
        store.close()
        assert read(store) == replace(FULL, version=1)

    def test_its_address_is_fit_for_logs(self, store: Store) -> None:
        assert "://" in store.url and "@" not in store.url
