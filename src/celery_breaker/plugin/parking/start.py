"""Whether tasks can be parked at all, said before the first has to be: on Amazon SQS, queues may have to be listed."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import TYPE_CHECKING

from celery_breaker.core.names import fields_of
from celery_breaker.errors import ConfigurationError
from celery_breaker.plugin.parking.sqs_names import FIFO, unlisted

if TYPE_CHECKING:
    from celery import Celery

    from celery_breaker.plugin.declared.policies import Policies

__all__ = ["check", "missing_queues"]

logger = logging.getLogger(__name__)


def missing_queues(app: Celery, breakers: Iterable[str]) -> list[str]:
    """Queues that ``predefined_queues`` of this app would have to list for these breakers to park, and does not.

    Raises:
        ConfigurationError: ``queue_name_prefix`` leaves no room for their names.
    """
    options = app.conf.broker_transport_options or {}
    if not (options.get("predefined_queues") or options.get("queue_name_prefix")):
        return []
    if app.connection_for_write().transport.driver_type != "sqs":
        return []
    consumed = [str(name) for name in app.amqp.queues.consume_from]
    return unlisted(
        options.get("predefined_queues") or {},
        breakers,
        kinds={name.endswith(FIFO) for name in consumed},
        prefix=str(options.get("queue_name_prefix") or ""),
    )


def check(app: Celery, policies: Policies) -> None:
    """Say what stands in the way of parking the tasks that this worker guards.

    Raises:
        ConfigurationError: it is known by name.
    """
    guarding = sorted({name for names in policies.guarded.values() for name in names})
    parking = [name for name in guarding if policies.of(name).parks]
    fixed = [name for name in parking if not fields_of(name)]
    if missing := missing_queues(app, fixed):
        raise ConfigurationError(
            f"broker_transport_options['predefined_queues'] does not list {', '.join(missing)}: make and list them, or "
            "have no task parked (on_open='retry' or 'fail', and neither defer_failures nor retry_budget)"
        )
    templates = [name for name in parking if fields_of(name)]
    if missing_queues(app, templates):
        logger.warning(
            "tasks of %s stay in their queue while a breaker is open, unless predefined_queues lists its parking queue",
            ", ".join(templates),
        )
