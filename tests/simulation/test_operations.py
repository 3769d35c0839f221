"""What the store has to bear: it grows with the fleet, and not with the work."""

from __future__ import annotations

from dataclasses import replace

import pytest

from celery_breaker.core.record import Mode
from celery_breaker.simulation.report import CLOSED, DRAINING, FAILING, OPEN, Report
from celery_breaker.simulation.scenario import Fleet
from celery_breaker.simulation.sweep import fleet_table
from tests.simulation.scenarios import POLICY, run, scenario

SIZES, RATES = (10, 100, 1000), (20.0, 200.0)
Table = dict[tuple[int, float], Report]


@pytest.fixture(scope="module")
def table() -> Table:
    base = scenario(fleet=Fleet(concurrency=10), load={"regular": False})
    return {(run.workers, run.rate): run.report for run in fleet_table(base, workers=SIZES, rates=RATES, seeds=(1,))}


@pytest.mark.parametrize("phase", [CLOSED, OPEN])
def test_operations_grow_with_the_workers(table: Table, phase: str) -> None:
    for rate in RATES:
        each = [table[size, rate].per_worker(phase) or 0.0 for size in SIZES]
        assert min(each) > 1.0
        assert max(each) < 1.35 * min(each)


@pytest.mark.parametrize("phase", [CLOSED, OPEN])
def test_operations_do_not_grow_with_the_rate_of_tasks(table: Table, phase: str) -> None:
    for size in SIZES:
        few, many = (table[size, rate].per_worker(phase) or 0.0 for rate in RATES)
        assert few > 1.0
        assert many < 1.25 * few  # ten times the tasks


def test_probes_that_hang_cost_no_more_where_there_are_more_tasks() -> None:
    reports = [
        run(rate=rate, down_latency=10.0, load={"regular": False}, fleet=Fleet(workers=20, concurrency=10))
        for rate in RATES
    ]
    few, many = (report.per_worker(OPEN) or 0.0 for report in reports)
    assert few > 1.0
    assert many < 1.25 * few  # ten times the tasks


def test_wasted_calls_do_not_grow_with_the_workers(table: Table) -> None:
    few, many = table[SIZES[0], RATES[0]], table[SIZES[-1], RATES[0]]
    assert abs(many.wasted - few.wasted) <= 3  # a hundred times the workers


def test_a_closed_fleet_costs_what_can_be_worked_out() -> None:
    # A read a second; successes every five; each agent asks for its lease once a minute.
    report = run(outage=0.0, duration=600.0, rate=200.0, fleet=Fleet(workers=20, beat=False))
    operations = report.operations[CLOSED]
    assert operations["read"] == pytest.approx(20 * 600 + 20 * 10, abs=25)
    assert operations["tally"] == pytest.approx(20 * 600 / 5, abs=20)
    assert operations["lease"] == operations["names"] == 20 * 10
    assert report.phases[CLOSED] == 600.0


def test_reads_are_as_many_as_rounds_whatever_happens() -> None:
    # Without a bus and without agents' looks, permits and lost swaps, what is read is what the rounds read.
    fleet = Fleet(workers=7, bus_delay=None, beat=False)
    report = run(fleet=fleet, rate=0.0, duration=50.5, outage=0.0)
    looks = report.operations[CLOSED]["names"]
    assert report.operations[CLOSED]["read"] - looks in (7 * 50, 7 * 51, *range(7 * 50, 7 * 51))


def test_an_announcement_makes_every_worker_read_once() -> None:
    quiet, told = (run(fleet=Fleet(workers=50, bus_delay=delay), rate=2.0, duration=40.0) for delay in (None, 0.01))
    reads = [sum(operations.get("read", 0) for operations in one.operations.values()) for one in (quiet, told)]
    assert reads[1] - reads[0] == pytest.approx(50, abs=4)  # one trip


def test_agents_without_the_lease_ask_once_a_second() -> None:
    report = run(fleet=Fleet(workers=20, beat=False), rate=20.0, duration=140.0)
    asked = report.operations[OPEN]["lease"] / report.phases[OPEN]
    assert asked == pytest.approx(20.0, rel=0.1)
    slower = run(fleet=Fleet(workers=20, beat=False, tend_interval=0.5), rate=20.0, duration=140.0)
    assert slower.operations[OPEN]["lease"] / slower.phases[OPEN] == pytest.approx(40.0, rel=0.1)


def test_agents_tend_what_was_forced_open_from_the_start() -> None:
    report = run(mode=Mode.FORCED_OPEN, outage=0.0, duration=60.0, fleet=Fleet(workers=10, beat=False))
    assert report.operations[OPEN]["lease"] / 60 == pytest.approx(10, rel=0.2)


def test_a_disabled_breaker_has_no_backlog_to_bring_back() -> None:
    assert run(mode=Mode.DISABLED, outage=0.0, duration=30.0).phases[DRAINING] == 0.0


def test_each_failure_is_an_operation_until_the_trip() -> None:
    report = run(policy=replace(POLICY, max_failures=30), rate=10.0, load={"retries": 0})
    assert report.operations[FAILING]["tally"] >= 30


def test_draining_is_an_account_of_its_own() -> None:
    report = run()
    assert report.phases[DRAINING] > 3.0
    assert report.operations[DRAINING]["swap"] > 0
    assert sum(report.phases.values()) == pytest.approx(report.seconds)


def test_per_worker_says_nothing_of_a_phase_that_never_was() -> None:
    assert run(outage=0.0, duration=10.0).per_worker(OPEN) is None
