"""Many processes on one store: nothing is lost, one wins, and the store's clock rules."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from celery_breaker.core.journal import Book
from celery_breaker.core.record import Record
from celery_breaker.core.windows import Delta, Totals
from celery_breaker.stores.base import Store
from celery_breaker.testing import jobs
from celery_breaker.testing.contract.access import DAY, FAILURE, Opener, StoreAccess
from celery_breaker.testing.crew import Crew, in_child

__all__ = ["ProcessContract"]

PROCESSES = 16

Run = Callable[..., list[Any]]

_crew_key = pytest.StashKey[Crew]()


def consistent(totals: Totals) -> bool:
    """Whether these are what some number of lone failures adds up to."""
    return totals.calls == totals.failures == totals.streak == sum(totals.workers.values())


class ProcessContract(StoreAccess):
    """Processes that share nothing but the store."""

    @pytest.fixture
    def run(self, request: pytest.FixtureRequest, opener: Opener) -> Run:
        """`run(job, *args)` → what each process returned."""
        if not self.across_processes:
            pytest.skip("its data are not shared between processes")

        def run(job: Callable[..., Any], *args: Any) -> list[Any]:
            return crew_of(request).run(opener, job, *args)

        return run

    def test_totals_are_exact(self, run: Run, store: Store) -> None:
        pids = run(jobs.count, self.rounds)
        totals = store.tally("smtp", Delta(), DAY, generation=0, worker="")
        each = PROCESSES * self.rounds
        assert len(set(pids)) == PROCESSES
        assert (totals.calls, totals.failures, totals.streak) == (3 * each, 2 * each, 2 * each)
        assert totals.workers == {str(pid): 2 * self.rounds for pid in pids}

    def test_each_version_has_one_author(self, run: Run, store: Store) -> None:
        written = [version for versions in run(jobs.swap, self.rounds) for version in versions]
        record = store.read(["smtp"]).records["smtp"]
        assert sorted(written) == list(range(1, record.version + 1))
        assert record.generation == record.version >= self.rounds

    def test_one_process_opens(self, run: Run) -> None:
        won = [number for numbers in run(jobs.open_once, self.rounds) for number in numbers]
        assert sorted(won) == list(range(self.rounds))

    def test_never_more_holders_than_places_whoever_asks(self, run: Run) -> None:
        held = [span for spans in run(jobs.lease, self.rounds) for span in spans]
        edges = sorted([(start, 1) for start, _ in held] + [(end, -1) for _, end in held])
        inside = most = 0
        for _, step in edges:
            inside += step
            most = max(most, inside)
        assert len(held) >= 3
        assert 1 <= most <= 3

    def test_no_entry_of_a_journal_is_lost(self, run: Run, store: Store) -> None:
        added = [entry for entries in run(jobs.note, Book.HISTORY.keep // PROCESSES) for entry in entries]
        assert sorted(store.notes("smtp", Book.HISTORY)) == sorted(added)

    def test_a_forget_during_tallies_takes_a_window_whole_or_not_at_all(self, run: Run, store: Store) -> None:
        store.swap(Record(name="smtp"), expected=0)
        answers = [totals for each in run(jobs.count_and_forget, self.rounds) for totals in each]
        assert [totals for totals in answers if not consistent(totals)] == []
        assert consistent(store.tally("smtp", Delta(), DAY, generation=0, worker=""))
        store.forget("smtp")
        assert store.names() == []
        assert store.tally("smtp", FAILURE, DAY, generation=0, worker="a").calls == 1

    @pytest.mark.parametrize("off", [-7200.0, 7200.0])
    def test_a_process_whose_clock_is_wrong_goes_by_the_store_s(self, run: Run, store: Store, off: float) -> None:
        """Else it would take a place that is held, and count into a window of its own."""
        store.lease("key", "a", limit=1, ttl=600)
        store.tally("smtp", FAILURE, DAY, generation=0, worker="a")
        start = store.now()
        answers = run(jobs.behind_the_times, off)
        assert not any(held for held, _, _ in answers)
        assert sorted(calls for _, calls, _ in answers) == list(range(2, PROCESSES + 2))
        assert all(start <= now < start + 600 for _, _, now in answers)

    @pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
    def test_a_forked_child_goes_on_and_so_does_its_parent(self, store: Store) -> None:
        def child() -> bool:
            store.after_fork()
            return store.swap(Record(name="sms"), expected=0)

        assert store.swap(Record(name="smtp"), expected=0)
        assert in_child(child) == "True"
        assert sorted(store.names()) == (["sms", "smtp"] if self.across_processes else ["smtp"])
        assert store.swap(Record(name="smtp"), expected=1)


def crew_of(request: pytest.FixtureRequest) -> Crew:
    """The processes, which the tests of a module share; new ones if those were lost."""
    module: pytest.Module | None = request.node.getparent(pytest.Module)
    assert module is not None
    present = module.stash.get(_crew_key, None)
    if present is not None and not present.closed:
        return present
    crew = module.stash[_crew_key] = Crew(PROCESSES)
    module.addfinalizer(crew.close)
    return crew
