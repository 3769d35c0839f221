"""Journals: the last entries of two books for each breaker."""

from __future__ import annotations

import pytest

from celery_breaker.core.journal import Book
from celery_breaker.core.record import Record
from celery_breaker.stores.base import Store
from celery_breaker.testing.contract.access import StoreAccess

__all__ = ["JournalContract"]


class JournalContract(StoreAccess):
    """What is noted of breakers, for people to read."""

    @pytest.mark.parametrize("book", Book)
    def test_entries_come_back_the_latest_first(self, store: Store, book: Book) -> None:
        assert store.notes("smtp", book) == []
        store.note("smtp", book, ["one"])
        store.note("smtp", book, ["two", "Ü ☕ 'three'\n"])
        assert store.notes("smtp", book) == ["Ü ☕ 'three'\n", "two", "one"]

    @pytest.mark.parametrize("book", Book)
    def test_the_oldest_entries_go_when_there_are_too_many(self, store: Store, book: Book) -> None:
        entries = [str(number) for number in range(book.keep + 7)]
        store.note("smtp", book, entries[:3])
        store.note("smtp", book, entries[3:])
        assert store.notes("smtp", book) == entries[:6:-1]

    def test_books_and_breakers_are_apart(self, store: Store) -> None:
        for name in ("a", "A", "a:history"):
            for book in Book:
                store.note(name, book, [f"{book} of {name}"])
        for name in ("a", "A", "a:history"):
            for book in Book:
                assert store.notes(name, book) == [f"{book} of {name}"]

    def test_a_journal_is_no_record(self, store: Store) -> None:
        store.note("smtp", Book.HISTORY, ["one"])
        assert store.names() == []
        assert store.read(["smtp"]).records["smtp"] == Record(name="smtp")

    def test_forgetting_a_breaker_forgets_its_journal(self, store: Store) -> None:
        for name in ("smtp", "sms"):
            store.swap(Record(name=name), expected=0)
            for book in Book:
                store.note(name, book, ["one"])
        store.forget("smtp")
        assert [store.notes("smtp", book) for book in Book] == [[], []]
        assert [store.notes("sms", book) for book in Book] == [["one"], ["one"]]
