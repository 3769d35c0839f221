"""The store held against memory: whatever is asked in whatever order, both give the same answers.

The store has its own clock, so everything here happens within windows and leases of a day, or is over at once.
"""

from __future__ import annotations

import itertools
from dataclasses import replace
from functools import partial

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from celery_breaker.core.journal import Book
from celery_breaker.core.record import Record
from celery_breaker.core.windows import Delta, Window
from celery_breaker.stores.base import Store
from celery_breaker.stores.memory import MemoryStore
from celery_breaker.testing.contract.access import StoreAccess
from celery_breaker.testing.contract.values import deltas, records

__all__ = ["ModelContract"]

_histories = itertools.count()

known = st.sampled_from(["smtp", "日本 {x}", "a:b"])
holders = st.sampled_from("abcd")
windows = st.sampled_from(
    [
        Window(span=10_000_000.0),
        Window(span=20_000_000.0),
        *(Window(span=float(span), by_calls=True) for span in (1, 3, 7, 10, 13, 25, 100)),
    ]
)


class TwoStores(RuleBasedStateMachine):
    """One history, played on both; its names are its own, so that the store need not be emptied between them."""

    def __init__(self, store: Store) -> None:
        super().__init__()
        self.store = store
        self.memory = MemoryStore()
        self.window = Window(span=10_000_000.0)
        self.noted: set[str] = set()
        self.prefix = f"{next(_histories)} "

    def teardown(self) -> None:
        for name in {*self.memory.names(), *self.noted}:
            self.store.forget(name)

    @initialize(window=windows)
    def take_window(self, window: Window) -> None:
        self.window = window

    @rule(name=known, record=records, off=st.sampled_from([0, 0, 0, 1, -1]))
    def swap(self, name: str, record: Record, off: int) -> None:
        record = replace(record, name=self.prefix + name)
        expected = self.memory.read([record.name]).records[record.name].version + off
        assert self.store.swap(record, expected=expected) is self.memory.swap(record, expected=expected)

    @rule(asked=st.lists(known | st.text("xyz", min_size=1, max_size=2), max_size=5))
    def read(self, asked: list[str]) -> None:
        names = [self.prefix + name for name in asked]
        assert dict(self.store.read(names).records) == dict(self.memory.read(names).records)

    @rule(name=known, delta=deltas(), generation=st.integers(0, 3), worker=holders)
    def tally(self, name: str, delta: Delta, generation: int, worker: str) -> None:
        name = self.prefix + name
        theirs = self.store.tally(name, delta, self.window, generation=generation, worker=worker)
        ours = self.memory.tally(name, delta, self.window, generation=generation, worker=worker)
        assert replace(theirs, now=0.0) == replace(ours, now=0.0)
        assert abs(theirs.now - ours.now) < 60

    @rule(window=windows)
    def deploy_with_another_window(self, window: Window) -> None:
        self.window = window

    @rule(key=known, holder=holders, limit=st.integers(1, 3))
    def lease(self, key: str, holder: str, limit: int) -> None:
        key = self.prefix + key
        theirs = self.store.lease(key, holder, limit=limit, ttl=86_400)
        ours = self.memory.lease(key, holder, limit=limit, ttl=86_400)
        assert theirs.held is ours.held
        assert abs(theirs.free_in - ours.free_in) < 60

    @rule(key=known, holder=holders)
    def release(self, key: str, holder: str) -> None:
        for store in (self.store, self.memory):
            store.release(self.prefix + key, holder)

    @rule(name=known, book=st.sampled_from(Book), entries=st.lists(st.text("ab", max_size=3), max_size=3))
    def note(self, name: str, book: Book, entries: list[str]) -> None:
        name = self.prefix + name
        self.noted.add(name)
        for store in (self.store, self.memory):
            store.note(name, book, entries)
        assert self.store.notes(name, book) == self.memory.notes(name, book)

    @rule(name=known)
    def forget(self, name: str) -> None:
        for store in (self.store, self.memory):
            store.forget(self.prefix + name)

    @invariant()
    def the_same_breakers_are_listed(self) -> None:
        assert sorted(self.store.names()) == sorted(self.memory.names())


class ModelContract(StoreAccess):
    """Random histories."""

    def test_it_answers_as_memory_does(self, store: Store) -> None:
        run_state_machine_as_test(
            partial(TwoStores, store),  # type: ignore[arg-type]  # any factory will do
            settings=settings(
                max_examples=self.examples,
                stateful_step_count=25,
                deadline=None,
                suppress_health_check=list(HealthCheck),  # pyright: ignore[reportArgumentType]  # a metaclass of its own
            ),
        )
