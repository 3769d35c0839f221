"""Mail that is never given up because of an outage, not even the few that notice it first."""

from __future__ import annotations

from celery import Celery

from celery_breaker import BreakerTask

app = Celery("mail", broker="redis://localhost:6379/0", backend="redis://localhost:6379/0")
app.conf.breakers = {"smtp": {"defer_failures": True, "failures": [OSError], "max_deferral_age": 86_400}}


def deliver(to: str) -> str:
    """Stands for the mail server; an address without a domain is no fault of its."""
    if "@" not in to:
        raise ValueError(f"{to!r} is no address")
    if to.endswith("@down.example"):
        raise ConnectionError("the mail server is away")
    return f"sent to {to}"


@app.task(base=BreakerTask, breaker="smtp", acks_late=True)
def send(to: str) -> str:
    """No ``autoretry_for``: while the server is away the task is set aside, for a day at most."""
    return deliver(to)


if __name__ == "__main__":
    app.start()
