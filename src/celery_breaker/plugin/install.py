"""Installing: the bootsteps, the agent's task and its entry in beat's schedule, once per app and by itself.

Who imports `celery_breaker` imports this; what only workers, beat and commands need is imported by them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from celery import _state as celery_state
from celery import signals as celery_signals

from celery_breaker.engine.registry import close_all
from celery_breaker.plugin import current  # noqa: F401  (knows from now on whose breakers are meant)
from celery_breaker.plugin.publishing import front
from celery_breaker.plugin.unproxied import unproxied
from celery_breaker.plugin.worker import tend

if TYPE_CHECKING:
    from celery import Celery

__all__ = ["install"]

_installed: WeakSet[Celery] = WeakSet()


def install(app: Celery) -> None:
    """Make an app's workers guard its tasks, and its beat remind the agent. Does nothing the second time."""
    app = unproxied(app)
    if app in _installed:
        return
    _installed.add(app)
    from celery_breaker.plugin.worker.bootsteps import ConsumerStep, PauseStep, WorkerStep, on_worker_shutdown

    celery_signals.worker_shutdown.connect(on_worker_shutdown, dispatch_uid="celery_breaker")
    app.steps["worker"].add(WorkerStep)
    app.steps["consumer"].add(ConsumerStep)
    app.steps["consumer"].add(PauseStep)


front.stand_in_the_way()


@celery_state.connect_on_app_finalize
def _on_app_finalize(app: Celery) -> None:
    """An app is complete: whoever lists its tasks, as forms for a schedule do, finds those of maintenance."""
    from celery_breaker.plugin import maintenance

    maintenance.register(app)


for _app in list(celery_state._get_active_apps()):  # type: ignore[attr-defined]
    if _app.finalized:
        _on_app_finalize(_app)


@celery_signals.worker_init.connect(weak=False)
def _on_worker_init(sender: Any = None, **_: Any) -> None:
    """A worker starts: whether anything is guarded shows only now, for settings can attach any task."""
    install(sender.app)
    tend.register(sender.app)


@celery_signals.worker_process_shutdown.connect(weak=False)
def _on_pool_process_shutdown(**_: Any) -> None:
    """A pool process ends, perhaps after each task: what it has not reported yet is reported now."""
    close_all()


@celery_signals.beat_init.connect(weak=False)
def _on_beat_init(sender: Any = None, **_: Any) -> None:
    """Beat starts: remind the agent, if there is anything to tend."""
    from celery_breaker.plugin.app import breakers_of

    app = sender.app
    breakers = breakers_of(app)
    if not breakers.policies.guarded:
        return
    settings = breakers.settings
    options: dict[str, Any] = {"expires": 3 * settings.tend_interval, "ignore_result": True}
    if settings.tend_queue:
        options["queue"] = settings.tend_queue
    tend.register(app)
    entry = {"task": tend.TEND, "schedule": settings.tend_interval, "options": options}
    app.conf.beat_schedule.setdefault(tend.TEND, entry)
    scheduler = sender.scheduler
    if tend.TEND not in scheduler.schedule:
        scheduler.update_from_dict({tend.TEND: app.conf.beat_schedule[tend.TEND]})
