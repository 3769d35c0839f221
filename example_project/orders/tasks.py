"""The shop's tasks. `base` and `breaker` are all that celery-breaker asks for: compare `tasks_naive.py`.

Celery's jitter picks any whole number of seconds down to 0, so a task could use up its retries in the very moment
before the breaker opens. Without jitter the first retry comes a second later, and finds the breaker open.
"""

from __future__ import annotations

import smtplib

from celery_breaker import BreakerTask

from orders import gateways
from orders.models import Order
from shop.celery import app


@app.task(
    name="orders.charge",
    base=BreakerTask,
    breaker="payments",
    autoretry_for=(OSError,),
    retry_backoff=True,
    retry_jitter=False,
)
def charge(order_id: int) -> str:
    """Charge an order over HTTP; returns the id of the charge."""
    order = Order.objects.get(pk=order_id)
    charge_id = gateways.charge_card(order)
    order.advance(Order.Status.PAID)
    return charge_id


@app.task(
    name="orders.send_mail",
    base=BreakerTask,
    breaker="smtp",
    autoretry_for=(OSError, smtplib.SMTPException),
    retry_backoff=True,
    retry_jitter=False,
)
def send_mail(order_id: int) -> None:
    """Mail the confirmation of an order."""
    order = Order.objects.get(pk=order_id)
    gateways.mail_confirmation(order)
    order.advance(Order.Status.CONFIRMED)
