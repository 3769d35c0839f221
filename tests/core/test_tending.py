"""The agent's times."""

from __future__ import annotations

import itertools

from celery_breaker.core.policy import DEFAULT_PROBE_TIMEOUT, Policy
from celery_breaker.core.tending import patience_after, rest


def test_each_further_probe_is_waited_for_twice_as_long_up_to_a_lease() -> None:
    policy = Policy(probe_timeout=5.0)
    waits = itertools.accumulate(range(5), lambda wait, _: patience_after(wait, policy), initial=0.0)
    assert list(waits) == [0.0, 1.0, 2.0, 4.0, 5.0, 5.0]


def test_a_lease_nobody_chose_is_the_default() -> None:
    assert Policy().probe_lease == DEFAULT_PROBE_TIMEOUT
    assert patience_after(1e9, Policy()) == DEFAULT_PROBE_TIMEOUT


def test_tasks_that_wait_are_looked_at_again_when_the_first_is_due_and_every_two_seconds() -> None:
    assert [rest(soonest, released=0) for soonest in (0.3, 1.9, 2.5, 900.0)] == [0.3, 1.9, 2.0, 2.0]


def test_where_some_were_released_or_none_waits_there_is_no_rest() -> None:
    assert (rest(5.0, released=1), rest(None, released=0)) == (0.0, 0.0)
