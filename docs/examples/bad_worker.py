"""Workers with a GPU each: one whose GPU fails stops taking tasks, and the others do its work.

$ celery -A bad_worker worker -Q gpu
"""

from __future__ import annotations

import os

from celery import Celery

from celery_breaker import BreakerTask

app = Celery("studio", broker=os.environ.get("STUDIO_BROKER", "redis://localhost"))
app.conf.task_routes = {"studio.render": {"queue": "gpu"}}
app.conf.breakers = {
    "gpu-here": {"scope": "worker", "max_failures": 3, "recovery_timeout": 300, "on_open": "pause"},
    "gpu": {"min_workers": 2, "on_open": "pause"},
}


class GpuFailed(RuntimeError):
    """What the driver reports."""


@app.task(
    name="studio.render",
    base=BreakerTask,
    breaker=["gpu-here", "gpu"],
    autoretry_for=(GpuFailed,),
    default_retry_delay=1,
)
def render(scene: int) -> None:
    """Draws a scene; on which worker, it does not say."""
    if os.environ.get("GPU") == "broken":
        raise GpuFailed("no device")
    print(f"scene {scene} is drawn")
