"""A small app, whose tests are in testing_with_pytest.py and testing_with_unittest.py."""

from __future__ import annotations

from celery import Celery

from celery_breaker import BreakerTask

app = Celery("shop", broker="redis://localhost/0", backend="redis://localhost/1")
app.conf.breakers = {"bank": {"max_failures": 3, "recovery_timeout": 30}}


class Bank:
    """Stands for the client of a payment service."""

    def charge(self, order: int) -> str:
        return f"receipt {order}"


bank = Bank()


@app.task(base=BreakerTask, breaker="bank")
def charge(order: int) -> str:
    return bank.charge(order)


def check_out(order: int) -> str:
    """What the web process says to a customer."""
    result = charge.delay(order)
    return "your payment waits for the bank" if str(result.state) == "DEFERRED" else "thank you"
