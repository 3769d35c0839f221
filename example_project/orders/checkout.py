"""Placing an order: what a view of the shop would call."""

from __future__ import annotations

from functools import partial

from celery import chain, signature
from django.db import transaction

from orders.models import Order


def place_order(email: str, item: str, amount_cents: int) -> Order:
    """Store an order and, once it is committed, queue its charge and then its confirmation mail."""
    with transaction.atomic():
        order = Order.objects.create(email=email, item=item, amount_cents=amount_cents)
        transaction.on_commit(partial(_fulfil, order.pk))
    return order


def _fulfil(order_id: int) -> None:
    """Charge, then mail. By name, since `settings.SHOP_TASKS` chooses the module that defines the two tasks."""
    steps = [signature(name, args=(order_id,), immutable=True) for name in ("orders.charge", "orders.send_mail")]
    chain(*steps).delay()
