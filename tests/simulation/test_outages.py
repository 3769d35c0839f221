"""What comes of an outage, where it can be worked out on paper."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from celery_breaker.core.policy import Policy
from celery_breaker.core.record import Mode, State
from celery_breaker.simulation.run import simulate
from celery_breaker.simulation.scenario import Fleet, Outage
from tests.simulation.scenarios import POLICY, accounted, run, scenario


@pytest.mark.parametrize(("outage", "probes"), [(20.0, 0), (60.0, 1), (100.0, 3), (200.0, 6)])
def test_each_open_interval_costs_one_probe(outage: float, probes: int) -> None:
    report = run(outage=outage)
    assert report.probes == probes
    assert len(report.intervals) == probes + 1
    assert report.trips == 1


def test_open_intervals_grow_with_the_backoff_that_is_asked_for() -> None:
    report = run(policy=replace(POLICY, backoff="exponential"), outage=200.0)
    opened = [one for one in report.transitions if one.after is State.OPEN]
    assert [round(one.until - one.at) for one in opened] == [30, 60, 120]


def test_the_trip_comes_with_the_failure_that_fills_the_measure() -> None:
    report = run(rate=10.0, down_latency=0.0, load={"retries": 0})
    # Tasks come at 20.0, 20.1, …: the fifth call of the outage fails at 20.4.
    assert report.time_to_trip == pytest.approx(0.4, abs=0.01)
    assert report.dead_calls - report.wasted == 5


def test_a_share_of_a_full_window_takes_as_long_as_it_takes_to_make_it_up() -> None:
    policy = replace(POLICY, failure_rate=0.5, failure_window=20.0)
    report = run(policy=policy, start=40.0, rate=10.0, load={"retries": 0})
    # Half of 20 s of regular calls: 10 s, give or take a bucket of 2 s.
    assert report.time_to_trip == pytest.approx(10.0, abs=2.1)


def test_the_close_comes_with_the_first_probe_after_the_outage() -> None:
    report = run(outage=60.0)
    [first, second] = report.intervals
    assert report.closed_at == pytest.approx(second.opened + 30.0 + 0.1, abs=0.1)
    assert first.ended == second.opened


def test_all_that_was_set_aside_is_done_in_the_end() -> None:
    report = run()
    assert report.tasks.deferrals > 1000
    assert report.tasks.parked == 0
    assert report.tasks.done == report.tasks.arrived - report.tasks.running - report.tasks.waiting
    assert report.time_to_drain is not None


def test_an_outage_without_end_is_never_closed() -> None:
    report = run(outage=math.inf, duration=300.0)
    assert report.seconds == 300.0
    assert report.time_to_close is None
    assert report.time_to_drain is None
    assert [one.probes for one in report.intervals] == [1] * 9 + [0]
    assert report.tasks.parked > 5000


def test_without_tasks_nothing_happens() -> None:
    report = run(rate=0.0)
    assert report.tasks.arrived == 0
    assert report.transitions == ()
    assert report.operations["closed"]["read"] > 0


def test_without_tasks_after_the_trip_the_parked_ones_probe() -> None:
    report = run(rate=0.0, start=0.0, load={"backlog": 500}, fleet=Fleet(workers=2, concurrency=2))
    assert report.tasks.done == 500
    assert report.time_to_close == pytest.approx(0.0, abs=1.0)


def test_without_an_outage_nothing_trips() -> None:
    report = run(outage=0.0, duration=60.0)
    assert report.transitions == ()
    assert report.dead_calls == 0


def test_one_worker_alone_cannot_trip_a_fleet_that_asks_for_two() -> None:
    policy = replace(POLICY, min_workers=2)
    assert run(policy=policy, fleet=Fleet(workers=1), duration=120.0).trips == 0
    assert run(policy=policy, fleet=Fleet(workers=2), duration=120.0).trips == 1


def test_more_workers_that_must_have_failed_trip_later() -> None:
    times = [run(policy=replace(POLICY, min_workers=few), fleet=Fleet(workers=50)).time_to_trip for few in (1, 30)]
    assert times[0] is not None
    assert times[1] is not None
    assert times[0] < times[1]


def test_a_health_check_takes_the_place_of_probes() -> None:
    report = run(policy=replace(POLICY, health_check="proj.mail.check"))
    assert report.probes == 1
    assert report.tasks.failed == 0
    # No task is tried in vain: those that failed did so before the trip, or were under way.
    [first, *_] = report.intervals
    assert report.tasks.retries == 5 + first.in_flight + first.late


def test_a_health_check_that_hangs_past_its_time_is_a_failure() -> None:
    policy = replace(POLICY, health_check="proj.mail.check", probe_timeout=0.05)
    report = run(policy=policy, latency=0.2, duration=200.0)
    assert report.time_to_close is None


def test_as_many_permits_as_the_policy_has_are_out_at_once() -> None:
    report = run(policy=replace(POLICY, half_open_calls=3, success_threshold=3), rate=100.0, down_latency=2.0)
    assert [one.probes for one in report.intervals] == [3, 0]


def test_successes_are_counted_up_to_the_threshold() -> None:
    one, three = (run(policy=replace(POLICY, success_threshold=few)) for few in (1, 3))
    assert one.time_to_close is not None
    assert three.time_to_close is not None
    assert three.time_to_close >= one.time_to_close + 0.2
    assert three.transitions[-1].reason == "3 successful probes"


def test_a_lost_announcement_costs_a_refresh_and_no_more() -> None:
    told, untold = (run(fleet=Fleet(bus_delay=delay), rate=20.0) for delay in (0.01, None))
    assert told.late <= 1
    assert told.late < untold.late <= 20.0 * 1.1  # a second's worth of tasks
    assert untold.tasks.done == untold.tasks.arrived - untold.tasks.running - untold.tasks.waiting


def test_disabled_everything_is_called_and_retried() -> None:
    report, guarded = run(mode=Mode.DISABLED, duration=120.0), run(duration=120.0)
    assert report.transitions == ()
    assert report.tasks.deferrals == 0
    assert report.dead_calls > 100 * guarded.wasted
    assert report.tasks.failed > 0


def test_observing_admits_everything_and_moves_all_the_same() -> None:
    report, guarded = run(mode=Mode.OBSERVING, duration=140.0), run(duration=140.0)
    assert report.tasks.deferrals == 0
    assert [one.after for one in report.transitions][:3] == [State.OPEN, State.HALF_OPEN, State.OPEN]
    assert report.transitions[-1].after is State.CLOSED
    assert report.time_to_trip == guarded.time_to_trip


def test_observing_half_opens_at_a_worker_s_next_round() -> None:
    report = run(mode=Mode.OBSERVING, duration=140.0, fleet=Fleet(tend_interval=50.0))
    opened, half_opened = report.transitions[:2]
    assert opened.until <= half_opened.at <= opened.until + 1.0


def test_forced_open_calls_nothing_and_keeps_all() -> None:
    report = run(mode=Mode.FORCED_OPEN)
    assert report.dead_calls == 0
    assert report.tasks.parked == report.tasks.arrived > 0
    assert set(report.series.states) == {"open"}


def test_refused_tasks_fail_where_the_policy_says_so() -> None:
    report = run(policy=replace(POLICY, on_open="fail"))
    assert report.tasks.refused > 1000
    assert report.tasks.deferrals == 0


def test_refused_tasks_come_back_later_where_they_are_sent_ahead() -> None:
    report = run(policy=replace(POLICY, on_open="retry"))
    assert report.tasks.deferrals > 1000
    assert report.most_parked == 0
    assert report.tasks.refused == report.tasks.failed == 0


def test_a_task_that_was_set_aside_too_often_is_refused() -> None:
    policy = replace(POLICY, on_open="retry", max_deferrals=1)
    assert run(policy=policy, outage=200.0).tasks.refused > 0


def test_a_fallback_ends_the_task() -> None:
    report = run(policy=replace(POLICY, on_open="proj.mail.fallback"))
    assert report.tasks.fallbacks > 1000
    assert accounted(report.tasks) == report.tasks.arrived


def test_slow_calls_trip_where_they_count() -> None:
    slow = {"outages": (), "latency": 0.5}
    calm = run(outage=0.0, duration=30.0, service=slow)
    strict = run(outage=0.0, duration=30.0, service=slow, policy=replace(POLICY, slow_call_duration=0.2))
    assert (calm.trips, strict.trips) == (0, 1)


def test_slow_calls_trip_at_a_rate_of_their_own() -> None:
    slow = {"outages": (), "latency": 0.5}
    policy = Policy(slow_call_duration=0.2, slow_call_rate=0.9, max_failures=10)
    report = run(outage=0.0, duration=30.0, service=slow, policy=policy)
    assert "calls were slow" in report.transitions[0].reason


def test_failures_in_a_row_trip_whatever_the_window_says() -> None:
    policy = Policy(consecutive_failures=6, max_failures=1000)
    report = run(policy=policy)
    assert report.transitions[0].reason == "6 failures in a row"


def test_a_window_of_calls_trips_too() -> None:
    policy = replace(POLICY, failure_rate=0.5, failure_window="20 calls")
    assert "of" in run(policy=policy).transitions[0].reason


def test_several_outages_are_several_trips() -> None:
    outages = (Outage(start=20, duration=40, latency=0.05), Outage(start=200, duration=40, latency=0.05))
    report = run(service={"outages": outages})
    assert (report.trips, report.relapses) == (2, 0)
    assert report.dead_calls - report.wasted >= 2 * 5  # what each trip took is no waste of the one before
    assert report.recovered == 240.0


def test_a_partial_outage_fails_its_share() -> None:
    outages = (Outage(start=0, duration=1000.0, failure_rate=0.3, latency=0.05),)
    report = run(service={"outages": outages}, policy=Policy(), mode=Mode.DISABLED, duration=500.0)
    calls = sum(report.series.failed) + sum(report.series.succeeded)
    assert sum(report.series.failed) / calls == pytest.approx(0.3, abs=0.03)


def test_a_service_that_is_called_too_often_fails_the_rest() -> None:
    report = run(outage=0.0, duration=30.0, mode=Mode.DISABLED, rate=20.0, service={"outages": (), "capacity": 15})
    assert max(report.series.succeeded) <= 15
    assert sum(report.series.failed) > 100


def test_no_more_calls_are_under_way_than_there_are_slots() -> None:
    fleet = Fleet(workers=3, concurrency=2)
    report = run(outage=0.0, duration=30.0, rate=1000.0, latency=0.5, fleet=fleet)
    assert max(report.series.succeeded) <= 6 / 0.5 + 6
    assert report.tasks.running == 6


def test_released_tasks_stay_behind_the_ramp() -> None:
    report = run(rate=200.0, policy=replace(POLICY, ramp_start=10.0), fleet=Fleet(workers=100))
    assert report.closed_at is not None
    first = report.series.peak(report.closed_at, report.closed_at + 0.5)
    assert first < 200 + 10 + 20 + 200  # its own second, fresh tasks at most twice, and two steps
    assert report.relapses == 0


def test_a_permit_that_hangs_longer_than_its_lease_is_given_anew() -> None:
    policy = replace(POLICY, probe_timeout=2.0)
    report = run(policy=policy, outage=60.0, down_latency=20.0, rate=100.0, fleet=Fleet(workers=50))
    assert sum(one.probes for one in report.intervals) > len(report.intervals)


def test_a_scenario_has_one_outcome() -> None:
    chance = scenario(load={"regular": False}, service={"spread": 0.5}, policy=Policy(), seed=7)
    assert simulate(chance) == simulate(chance)
    assert simulate(replace(chance, seed=8)) != simulate(chance)


def test_what_is_parked_when_nobody_looks_any_more_is_found() -> None:
    # Views of ten seconds ago still park when the agent has seen the queue empty for three, and rests.
    policy = replace(POLICY, health_check="proj.mail.check", recovery_timeout=5)
    fleet = Fleet(workers=40, refresh_interval=10.0, bus_delay=None)
    report = run(policy=policy, fleet=fleet, outage=30.0, rate=4.0, duration=150.0)
    closed = report.closed_at
    assert closed is not None
    parked_again = zip(report.series.parked, report.series.parked[1:], strict=False)
    assert any(place > closed + 4 and one == 0 and two > 0 for place, (one, two) in enumerate(parked_again))
    assert report.tasks.parked == 0


def test_a_worker_holds_few_requests_while_it_asks_for_permits() -> None:
    fleet = Fleet(workers=1, concurrency=1, store_latency=1.0, refresh_interval=100.0)
    policy = replace(POLICY, max_failures=1)
    report = run(policy=policy, fleet=fleet, rate=50.0, down_latency=30.0, outage=200.0, duration=180.0)
    states = zip(report.series.states, report.series.queued, strict=True)
    assert max(queued for state, queued in states if state == "half_open") < 50
