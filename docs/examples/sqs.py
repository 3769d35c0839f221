"""A shop on Amazon SQS: the app, and the queues that it needs beside its own."""

from __future__ import annotations

from celery import Celery

from celery_breaker import BreakerTask
from celery_breaker.plugin.app import breakers_of
from celery_breaker.plugin.parking.sqs_names import QUARANTINE, parking_queue

app = Celery("shop", broker="sqs://", backend="redis://localhost:6379/1")  # credentials: as boto finds them
app.conf.broker_transport_options = {
    "region": "eu-central-1",
    "queue_name_prefix": "shop-",
    "wait_time_seconds": 20,  # the fewest requests while nothing waits
    "visibility_timeout": 3600,  # above the longest task and the longest ETA
    "sqs-creation-attributes": {"MessageRetentionPeriod": "1209600"},  # 14 days, the most that SQS gives
}
app.conf.worker_enable_remote_control = False  # there is none on SQS
app.conf.breaker_store = "redis://localhost:6379/2"
app.conf.breaker_refresh_interval = 1.0  # seconds until every worker has seen a trip
app.conf.breaker_tend_interval = 30.0  # beat's reminder takes three requests each time
app.conf.breakers = {"smtp": {"max_failures": 5, "recovery_timeout": 30}}


@app.task(base=BreakerTask, breaker="smtp")
def send(to: str) -> str:
    """Would send a mail."""
    return f"sent to {to}"


def queues() -> list[str]:
    """Names for whoever makes queues beforehand, and lists them in ``predefined_queues``."""
    prefix = app.conf.broker_transport_options["queue_name_prefix"]
    names = breakers_of(app).policies.names()
    return [prefix + queue for queue in (*(parking_queue(name, prefix=prefix) for name in names), QUARANTINE)]


if __name__ == "__main__":
    print("\n".join(queues()))
