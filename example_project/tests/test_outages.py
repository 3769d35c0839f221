"""What the shop does while one of its services is down."""

from __future__ import annotations

from contextlib import ExitStack
from unittest import mock

from celery_breaker.testing import in_memory
from django.test import TestCase

from orders import gateways, tasks
from orders.checkout import place_order
from orders.models import Order
from shop.celery import app


class Outages(TestCase):
    """Breakers are kept in memory, and tasks run at once, by way of them."""

    def setUp(self) -> None:
        """Both services are well until a test says otherwise."""
        app.conf.task_always_eager = True
        with ExitStack() as stack:
            self.breakers = stack.enter_context(in_memory(app))
            self.charge = stack.enter_context(mock.patch.object(gateways, "charge_card", return_value="charge-1"))
            self.mail = stack.enter_context(mock.patch.object(gateways, "mail_confirmation"))
            self.addCleanup(stack.pop_all().close)

    def order(self) -> Order:
        """A customer's order, as far as it comes by itself."""
        with self.captureOnCommitCallbacks(execute=True):
            order = place_order("ann@example.org", "teapot", 1999)
        order.refresh_from_db()
        return order

    def test_an_order_is_paid_and_confirmed(self) -> None:
        self.assertEqual(self.order().status, Order.Status.CONFIRMED)
        self.breakers.assert_nothing_deferred()

    def test_while_the_mail_server_is_down_customers_can_pay(self) -> None:
        with self.breakers.forced("smtp", "open"):
            order = self.order()
        self.assertEqual(order.status, Order.Status.PAID)
        self.breakers.assert_deferred(tasks.send_mail, args=(order.pk,))
        self.mail.assert_not_called()

        self.breakers.release("smtp")
        order.refresh_from_db()
        self.assertEqual(order.status, Order.Status.CONFIRMED)
        self.mail.assert_called_once()

    def test_a_dead_payment_service_is_left_in_peace(self) -> None:
        order = Order.objects.create(email="ann@example.org", item="lamp", amount_cents=500)
        self.charge.side_effect = OSError("connection refused")
        for _ in range(20):
            tasks.charge.delay(order.pk)
        self.assertEqual(self.breakers.state("payments"), "open")
        self.assertEqual(self.charge.call_count, 5)

        self.charge.side_effect = None
        self.breakers.clock.advance(10)
        tasks.charge.delay(order.pk)  # the probe
        self.assertEqual(self.breakers.state("payments"), "closed")

    def test_a_declined_card_is_no_outage(self) -> None:
        order = Order.objects.create(email="ann@example.org", item="lamp", amount_cents=500)
        self.charge.side_effect = gateways.CardDeclinedError("no funds")
        for _ in range(20):
            self.assertEqual(tasks.charge.delay(order.pk).state, "FAILURE")
        self.assertEqual(self.breakers.state("payments"), "closed")
