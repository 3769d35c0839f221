"""Which lot an app's broker needs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from celery_breaker.plugin.parking import amqp, local, redis
from celery_breaker.plugin.parking.portable import PortableLot

if TYPE_CHECKING:
    from celery import Celery

    from celery_breaker.plugin.parking.lot import Lot

__all__ = ["open_lot"]


def open_lot(app: Celery) -> Lot:
    """A new lot on the app's broker; does not connect yet."""
    connection = app.connection_for_write()
    if connection.transport.driver_type == "sqs":
        from celery_breaker.plugin.parking.sqs import SqsLot  # where boto is installed

        return SqsLot(app)
    if redis.serves(connection):
        return redis.RedisLot(app)
    if amqp.serves(connection):
        return amqp.AmqpLot(app)
    return local.LocalLot(app) if local.serves(connection) else PortableLot(app)
