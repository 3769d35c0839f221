"""Which queues a breaker pauses, and when a worker must not start because of it."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from celery_breaker import ConfigurationError, Policy
from celery_breaker.plugin.declared.policies import Policies
from celery_breaker.plugin.pausing.plan import pause_plan

PAUSE = Policy(on_open="pause")


def policies(
    declared: Mapping[str, Policy], tasks: Mapping[str, tuple[str, tuple[str, ...]]]
) -> tuple[Policies, list[str]]:
    """Policies by breaker; queue and breakers by task."""
    found = Policies(
        guarded={task: names for task, (_, names) in tasks.items() if names}, queue_of=lambda task: tasks[task][0]
    )
    for name, policy in declared.items():
        found.add(name, policy)
    return found, list(tasks)


def test_the_queues_of_a_breakers_tasks_are_paused() -> None:
    tasks = {"mail.send": ("mail", ("smtp",)), "mail.bulk": ("bulk", ("smtp",)), "shop.pay": ("celery", ())}
    assert pause_plan(*policies({"smtp": PAUSE}, tasks)) == {"mail": ("smtp",), "bulk": ("smtp",)}


def test_where_nothing_pauses_no_router_is_asked() -> None:
    found, tasks = policies({"smtp": Policy()}, {"mail.send": ("mail", ("smtp",))})
    found.queue_of = lambda task: pytest.fail("it may be slow, or fail")
    assert pause_plan(found, tasks) == {}


def test_tasks_of_celery_and_of_this_package_may_share_the_queue() -> None:
    tasks = {"mail.send": ("celery", ("smtp",)), "celery.chord_unlock": ("celery", ()), "celery_breaker.tend": ("", ())}
    assert pause_plan(*policies({"smtp": PAUSE}, tasks)) == {"celery": ("smtp",)}


def test_a_task_may_have_further_breakers_and_several_may_pause() -> None:
    tasks = {"render": ("gpu", ("gpu", "gpu-here")), "scale": ("gpu", ("gpu", "gpu-here", "disk"))}
    declared = {"gpu": PAUSE, "gpu-here": PAUSE, "disk": Policy()}
    assert pause_plan(*policies(declared, tasks)) == {"gpu": ("gpu", "gpu-here")}


@pytest.mark.parametrize(
    ("declared", "tasks", "says"),
    [
        (
            {"smtp": PAUSE, "crm": Policy()},
            {"mail.send": ("celery", ("smtp",)), "crm.sync": ("celery", ("crm",)), "add": ("celery", ())},
            (
                "breaker 'smtp': on_open='pause' would stop queue 'celery' for tasks that it does not guard too: "
                "add, crm.sync (breaker crm); route its own tasks to queues of their own, or use on_open='park'"
            ),
        ),
        (
            {"gpu": PAUSE, "disk": PAUSE},
            {"render": ("gpu", ("gpu", "disk")), "scale": ("gpu", ("gpu",))},
            (
                "breaker 'disk': on_open='pause' would stop queue 'gpu' for tasks that it does not guard too: "
                "scale (breaker gpu); route its own tasks to queues of their own, or use on_open='park'"
            ),
        ),
        (
            {"hook:{host}": PAUSE},
            {"notify": ("hooks", ("hook:{host}",))},
            (
                "breaker 'hook:{host}': on_open='pause' stops whole queues, which breakers made from a template share; "
                "use on_open='park'"
            ),
        ),
        (
            {"smtp": PAUSE},
            {"mail.send": ("", ("smtp",))},
            (
                "breaker 'smtp': on_open='pause' needs to know the queue of task mail.send, which its route does not "
                "tell without a call; name it in task_routes, or use on_open='park'"
            ),
        ),
    ],
)
def test_what_cannot_be_paused_is_refused_in_one_sentence_with_the_names(
    declared: Mapping[str, Policy], tasks: Mapping[str, tuple[str, tuple[str, ...]]], says: str
) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        pause_plan(*policies(declared, tasks))
    assert str(refusal.value) == says
