"""No task is lost, whatever the policy, the fleet and the service."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from celery_breaker.core.policy import Policy
from celery_breaker.core.record import Mode, State
from celery_breaker.simulation.run import simulate
from celery_breaker.simulation.scenario import Fleet, Load, Outage, Scenario, Service
from tests.core.strategies import policies
from tests.simulation.scenarios import accounted

fleets = st.builds(
    Fleet,
    workers=st.integers(1, 6),
    concurrency=st.integers(1, 3),
    prefetch=st.integers(0, 4),
    refresh_interval=st.sampled_from([0.3, 1.0, 7.0]),
    bus_delay=st.sampled_from([None, 0.0, 0.01, 2.0]),
    store_latency=st.sampled_from([0.0, 0.001, 0.3]),
    parking_rate=st.sampled_from([5.0, 1000.0]),
)
services = st.builds(
    Service,
    latency=st.sampled_from([0.0, 0.1, 2.0]),
    failure_rate=st.sampled_from([0.0, 0.2]),
    capacity=st.none() | st.just(5.0),
    outages=st.sampled_from([(), (Outage(start=5, duration=20, latency=0.2),), (Outage(start=0, duration=500),)]),
)
loads = st.builds(Load, rate=st.sampled_from([0.0, 1.0, 20.0]), backlog=st.integers(0, 50), retries=st.integers(0, 3))


@given(policies(), fleets, services, loads, st.sampled_from(Mode), st.integers(0, 99))
def test_every_task_is_done_or_somewhere(
    policy: Policy, fleet: Fleet, service: Service, load: Load, mode: Mode, seed: int
) -> None:
    report = simulate(
        Scenario(policy=policy, fleet=fleet, service=service, load=load, mode=mode, seed=seed, duration=90.0)
    )
    assert accounted(report.tasks) == report.tasks.arrived
    assert report.tasks.running <= fleet.workers * fleet.concurrency
    assert min(report.tasks.parked, report.tasks.waiting, report.tasks.delayed, report.tasks.running) >= 0


@given(policies(), fleets, loads, st.integers(0, 99))
def test_states_follow_each_other_and_generations_are_not_skipped(
    policy: Policy, fleet: Fleet, load: Load, seed: int
) -> None:
    service = Service(outages=(Outage(start=5, duration=20, latency=0.2),))
    report = simulate(Scenario(policy=policy, fleet=fleet, service=service, load=load, seed=seed, duration=90.0))
    state = State.CLOSED
    for one in report.transitions:
        assert one.before is state
        state = one.after
    assert sum(report.phases.values()) - report.seconds < 1e-6


@given(fleets, loads, st.integers(0, 99))
def test_a_parked_task_is_not_left_behind(fleet: Fleet, load: Load, seed: int) -> None:
    policy = Policy(max_failures=1, failure_rate=0, recovery_timeout=2, backoff="constant", half_open_calls=2)
    service = Service(latency=0.01, outages=(Outage(start=2, duration=10, latency=0.2),))
    quiet = Load(rate=min(load.rate, 3.0), backlog=load.backlog, retries=3)
    report = simulate(Scenario(policy=policy, fleet=fleet, service=service, load=quiet, seed=seed, duration=400.0))
    ended = sum(one.after is State.CLOSED for one in report.transitions)
    if ended and report.transitions[-1].after is State.CLOSED:
        assert report.tasks.parked == 0
