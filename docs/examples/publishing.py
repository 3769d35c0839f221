"""A shop's web process while the mail server is down, and while the broker itself is."""

from __future__ import annotations

from celery import Celery
from kombu.exceptions import OperationalError

from celery_breaker import Breaker, BreakerOpen, BreakerTask

app = Celery("shop", broker="redis://localhost:6379/0")
app.conf.breakers = {
    "smtp": {"max_failures": 5},
    "broker": {
        "scope": "worker",  # each process finds out for itself: nobody can be told while the broker is down
        "failures": ["kombu.exceptions.OperationalError"],
        "max_failures": 3,
        "failure_rate": 0,
        "recovery_timeout": 5,
        "max_recovery_timeout": 5,
    },
}
app.conf.breaker_on_publish = "park"
app.conf.broker_transport_options = {"socket_timeout": 2, "socket_connect_timeout": 2}


@app.task(base=BreakerTask, breaker="smtp")
def confirm(order: int) -> None:
    """Sends a mail that may come late: parked at once while the mail server is down."""


@app.task(base=BreakerTask, breaker="smtp", breaker_on_publish="raise")
def send_code(user: str) -> None:
    """Sends a mail that is of no use later: refused while the mail server is down."""


def count_instead(error: BreakerOpen, user: str) -> str:
    """What the web process does in place of a task."""
    return f"{user} gets no newsletter: {error.name} is down"


@app.task(base=BreakerTask, breaker="smtp", breaker_on_publish=count_instead)
def newsletter(user: str) -> str:
    """Sends a mail that nobody misses."""
    return f"sent to {user}"


def log_in(user: str) -> str:
    """A request that needs the mail now."""
    try:
        send_code.delay(user)
    except BreakerOpen as error:
        wait = "later" if error.retry_after is None else f"in {error.retry_after:.0f} s"
        return f"no code can be sent, try again {wait}"
    return "look into your mail"


broker = Breaker("broker")
outbox: list[int] = []
"""What is to be published once the broker is back; a table of the database, in a real shop."""


def place(order: int) -> str:
    """A request that publishes, and does not wait for a broker that is down."""
    try:
        with broker:
            confirm.delay(order)
    except (BreakerOpen, OperationalError):
        outbox.append(order)
        return "kept"
    return "published"


if __name__ == "__main__":
    print(place(1))
    print(log_in("ann"))
