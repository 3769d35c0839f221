"""A task that works on every worker but the one whose GPU is broken: the one that is told so by its environment."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from celery import Task, shared_task

from celery_breaker import BreakerTask
from tests.integration.tasks import audit_line


class GpuBroken(OSError):
    """What the driver says."""


@shared_task(
    name="gpu.render",
    bind=True,
    base=BreakerTask,
    breaker=["gpu", "gpu-here"],
    autoretry_for=(OSError,),
    default_retry_delay=1,
    max_retries=5,
)
def render(self: Task[Any, Any], folder: str, number: int) -> int:
    """Notes where it ran; the GPU is mended when the file ``mended`` is there."""
    broken = "GPU_BROKEN" in os.environ and not Path(folder, "mended").exists()
    audit_line(str(Path(folder, "renders")), number, self.request.hostname, "broken" if broken else "fine", time.time())
    if broken:
        raise GpuBroken("no device")
    time.sleep(0.02)
    return number
