"""Checks of times against each other: limits, delays and what the broker waits for. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from celery_breaker.core.deferrals import LONGEST_DELAY
from celery_breaker.plugin.doctor.case import Check, Facts, Finding, hint, problem, some
from celery_breaker.status.words import human

__all__ = ["CHECKS"]

_ACKNOWLEDGEMENT = 2 * LONGEST_DELAY
"""Seconds that RabbitMQ waits for an acknowledgement, unless ``consumer_timeout`` says otherwise."""


def late_acknowledgement(facts: Facts) -> Iterator[Finding]:
    """A task that is acknowledged when it is done, and takes longer than the broker waits."""
    visible, late = facts.broker.visibility, [task for task in facts.tasks if task.acks_late]
    if visible is None:
        return
    long = [task for task in late if task.time_limit is not None and task.time_limit >= visible]
    if long:
        most = max(task.time_limit or 0.0 for task in long)
        yield problem(
            "late-acknowledgement",
            f"{some(task.name for task in long)}: acks_late with a time_limit of up to {human(most)}, but the broker "
            f"gives a message out again after {human(visible)}, so it runs twice at once",
            f"set broker_transport_options['visibility_timeout'] above {most:g}, or lower time_limit",
        )
    if endless := [task.name for task in late if task.time_limit is None]:
        yield hint(
            "late-acknowledgement",
            f"{some(endless)}: acks_late without a time_limit, and a run of more than {human(visible)} is doubled",
            f"set task_time_limit below {visible:g}",
        )


def retry_delay(facts: Facts) -> Iterator[Finding]:
    """A retry that is put off for longer than the broker waits."""
    visible = facts.broker.visibility
    if visible is None:
        return
    if long := [task for task in facts.tasks if task.longest_delay is not None and task.longest_delay >= visible]:
        most = max(task.longest_delay or 0.0 for task in long)
        yield problem(
            "retry-delay",
            f"{some(task.name for task in long)}: a retry may wait {human(most)}, but the broker gives a message out "
            f"again after {human(visible)}, so it runs once for each time",
            f"set broker_transport_options['visibility_timeout'] above {most:g}, or lower retry_backoff_max or "
            "default_retry_delay",
        )


def prefetched(facts: Facts) -> Iterator[Finding]:
    """Messages that wait in a worker behind long tasks until the broker gives them out again."""
    visible, times = facts.broker.visibility, facts.prefetch_multiplier
    limits = [task.time_limit for task in facts.tasks if task.time_limit]
    if visible is None or not limits or not times:
        return
    longest = max(limits)
    if longest < visible <= longest * times:
        yield hint(
            "prefetched",
            f"a worker takes {times} messages per slot, so one may wait {human(longest * times)} behind tasks of "
            f"{human(longest)}, and is given out again after {human(visible)}",
            "set worker_prefetch_multiplier=1, or raise visibility_timeout",
        )


def unlimited_prefetch(facts: Facts) -> Iterator[Finding]:
    """A worker that takes the whole queue into its memory."""
    if facts.prefetch_multiplier == 0:
        yield hint(
            "unlimited-prefetch",
            "worker_prefetch_multiplier=0 lets one worker take every waiting message, and each of them is deferred "
            "there when a breaker opens",
            "set worker_prefetch_multiplier to 1 or more",
        )


def consumer_timeout(facts: Facts) -> Iterator[Finding]:
    """RabbitMQ closes the channel of a consumer that holds a message for too long."""
    if facts.broker.transport != "amqp":
        return
    held = {
        task.name: max((task.acks_late and task.time_limit) or 0.0, task.longest_delay or 0.0) for task in facts.tasks
    }
    if long := {name: seconds for name, seconds in held.items() if seconds >= _ACKNOWLEDGEMENT}:
        yield hint(
            "consumer-timeout",
            f"{some(long)}: unacknowledged for up to {human(max(long.values()))}, and RabbitMQ closes the channel "
            f"after {human(_ACKNOWLEDGEMENT)} unless told otherwise, so it runs again",
            "raise consumer_timeout in rabbitmq.conf, or lower the limit or the delay",
        )


def retried_deferral(facts: Facts) -> Iterator[Finding]:
    """``on_open="retry"`` where a delay cannot be as long as the breaker stays open."""
    cap = min((facts.broker.visibility or 2 * LONGEST_DELAY) / 2, LONGEST_DELAY)
    for name, policy in facts.policies.items():
        if policy.on_open == "retry" and policy.recovery_timeout > cap:
            yield hint(
                "retried-deferral",
                f"breaker {name!r}: recovery_timeout is {human(policy.recovery_timeout)}, but a task deferred with "
                f"on_open='retry' comes back every {human(cap)} on this broker",
                "use on_open='park'" + (", or raise visibility_timeout" if cap < LONGEST_DELAY else ""),
            )


def results_expire(facts: Facts) -> Iterator[Finding]:
    """Results, and the count of a chord, that are gone before a deferred member of it has run."""
    kept = facts.result_expires
    if not kept:
        return
    guards = {name for task in facts.tasks if task.keeps_result for name in task.breakers}
    for name, policy in facts.policies.items():
        if name not in guards or (policy.on_open == "fail" and not policy.parks):
            continue
        waits = policy.max_deferral_age or policy.max_recovery_timeout
        if waits >= kept:
            option = "max_deferral_age" if policy.max_deferral_age else "max_recovery_timeout"
            yield problem(
                "results-expire",
                f"breaker {name!r}: a task may be deferred for {human(waits)} ({option}), but results are kept for "
                f"{human(kept)}, and a chord that waits for it never completes",
                f"set result_expires well above {waits:g}, or lower {option}",
            )


def deferral_age(facts: Facts) -> Iterator[Finding]:
    """Tasks that may not wait for as long as the breaker stays open."""
    for name, policy in facts.policies.items():
        age = policy.max_deferral_age
        if age is not None and age <= policy.recovery_timeout:
            yield problem(
                "deferral-age",
                f"breaker {name!r}: max_deferral_age of {human(age)} is over before recovery_timeout "
                f"({human(policy.recovery_timeout)}), so every deferred task fails",
                f"set max_deferral_age above {policy.recovery_timeout:g}, or say on_open='fail'",
            )


def probe_timeout(facts: Facts) -> Iterator[Finding]:
    """A permit that runs out while its probe still runs."""
    for name, policy in facts.policies.items():
        longest = max(facts.limits(name), default=0.0)
        if policy.probe_timeout is not None and policy.probe_timeout < longest:
            yield hint(
                "probe-timeout",
                f"breaker {name!r}: probe_timeout is {human(policy.probe_timeout)}, but a task may run for "
                f"{human(longest)}, so a second probe may start beside the first",
                f"leave probe_timeout out, or set it to {longest:g}",
            )


def slow_calls(facts: Facts) -> Iterator[Finding]:
    """A call that is killed before it could count as slow."""
    for name, policy in facts.policies.items():
        limits, slow = facts.limits(name), policy.slow_call_duration
        guarded = sum(name in task.breakers for task in facts.tasks)
        if slow is not None and limits and len(limits) == guarded and slow >= max(limits):
            yield hint(
                "slow-calls",
                f"breaker {name!r}: slow_call_duration is {human(slow)}, but its tasks are killed after "
                f"{human(max(limits))}, so none is ever slow",
                f"set slow_call_duration below {max(limits):g}",
            )


CHECKS: tuple[Check, ...] = (
    late_acknowledgement,
    retry_delay,
    prefetched,
    unlimited_prefetch,
    consumer_timeout,
    retried_deferral,
    results_expire,
    deferral_age,
    probe_timeout,
    slow_calls,
)
