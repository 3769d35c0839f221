"""Which queues stop while which breaker refuses, worked out and checked before a worker starts. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from celery_breaker.core.names import fields_of
from celery_breaker.errors import ConfigurationError
from celery_breaker.plugin.declared.policies import OUR_OWN, Policies

__all__ = ["pause_plan"]


def pause_plan(policies: Policies, tasks: Iterable[str]) -> Mapping[str, tuple[str, ...]]:
    """The names of the breakers that pause it, by queue.

    Args:
        tasks: names of all tasks of the app.

    Raises:
        ConfigurationError: a breaker that pauses is made from a template, the queue of one of its tasks cannot be
            told, or a task that it does not guard goes to the same queue.
    """
    plan: dict[str, tuple[str, ...]] = {}
    names = [name for name, policy in policies.declared.items() if policy.on_open == "pause"]
    if not names:
        return plan
    # Celery's own tasks, and ours, may share a queue that is paused, and wait in it
    queues = {task: policies.queue_of(task) for task in tasks if not task.startswith(OUR_OWN)}
    for name in names:
        if fields_of(name):
            raise ConfigurationError(
                f"breaker {name!r}: on_open='pause' stops whole queues, which breakers made from a template share; "
                "use on_open='park'"
            )
        for queue in _queues_of(name, policies, queues):
            plan[queue] = (*plan.get(queue, ()), name)
    return plan


def _queues_of(name: str, policies: Policies, queues: Mapping[str, str]) -> list[str]:
    """The queues of a breaker's tasks, none of which carries other tasks."""
    own = {task: queue for task, queue in queues.items() if name in policies.guarded.get(task, ())}
    for task, queue in own.items():
        if not queue:
            raise ConfigurationError(
                f"breaker {name!r}: on_open='pause' needs to know the queue of task {task}, which its route does not "
                "tell without a call; name it in task_routes, or use on_open='park'"
            )
    for queue in dict.fromkeys(own.values()):
        if others := [_described(task, policies) for task, used in queues.items() if used == queue and task not in own]:
            raise ConfigurationError(
                f"breaker {name!r}: on_open='pause' would stop queue {queue!r} for tasks that it does not guard too: "
                f"{', '.join(sorted(others))}; route its own tasks to queues of their own, or use on_open='park'"
            )
    return list(dict.fromkeys(own.values()))


def _described(task: str, policies: Policies) -> str:
    guards = policies.guarded.get(task)
    return f"{task} (breaker {', '.join(guards)})" if guards else task
