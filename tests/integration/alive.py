import tempfile
from pathlib import Path

from celery.signals import heartbeat_sent, worker_ready, worker_shutdown

ALIVE = Path(tempfile.gettempdir(), "worker-alive")


@worker_ready.connect
@heartbeat_sent.connect
def touch(**_: object) -> None:
    ALIVE.touch()


@worker_shutdown.connect
def remove(**_: object) -> None:
    ALIVE.unlink(missing_ok=True)
