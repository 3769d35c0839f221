"""One breaker for each host that webhooks go to."""

from __future__ import annotations

from celery import Celery

from celery_breaker import BreakerTask

app = Celery("shop", broker="redis://localhost:6379/0")
app.conf.breakers = {
    "webhook:{host}": {"max_failures": 3, "max_deferral_age": 86_400},
    "webhook:slow.example": {"slow_call_duration": 30, "recovery_timeout": 300},
}


@app.task(base=BreakerTask, breaker="webhook:{host}", autoretry_for=(OSError,), retry_backoff=True)
def notify(host: str, payload: dict[str, str]) -> None:
    """Would post to the host."""
