"""The same tasks as most people write them: automatic retries with a back-off, and no breaker. For comparison only."""

from __future__ import annotations

import smtplib

from orders import gateways
from orders.models import Order
from shop.celery import app


@app.task(
    name="orders.charge",
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
    autoretry_for=(OSError, smtplib.SMTPException),
    retry_backoff=True,
    retry_jitter=False,
)
def send_mail(order_id: int) -> None:
    """Mail the confirmation of an order."""
    order = Order.objects.get(pk=order_id)
    gateways.mail_confirmation(order)
    order.advance(Order.Status.CONFIRMED)
