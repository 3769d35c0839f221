"""The two outside services: the mail server (smtplib) and the payment service (HTTP).

Nothing in here knows of Celery or of breakers. Each function makes one call, with a timeout, and raises when it fails.
"""

from __future__ import annotations

import json
import logging
import smtplib
from email.message import EmailMessage
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from django.conf import settings

from orders.models import Order

calls = logging.getLogger("orders.calls")


class CardDeclinedError(Exception):
    """The payment service is well, and said no. Trying again would not help."""


def mail_confirmation(order: Order) -> None:
    """Send the confirmation of `order`. Raises OSError or smtplib.SMTPException when the mail server fails."""
    message = EmailMessage()
    message["From"] = "shop@shop.example"
    message["To"] = order.email
    message["Subject"] = f"Your order {order.pk}: {order.item}"
    message["Message-ID"] = f"<order-{order.pk}@shop.example>"
    message.set_content(f"Thank you! We have received {order.amount_cents / 100:.2f} for your {order.item}.\n")
    calls.info("smtp %s", order.pk)
    with smtplib.SMTP(
        settings.EMAIL_HOST, settings.EMAIL_PORT, local_hostname="shop.example", timeout=settings.EMAIL_TIMEOUT
    ) as server:
        server.send_message(message)


def charge_card(order: Order) -> str:
    """Charge `order` and return the id of the charge.

    The idempotency key makes a second call for one order harmless. Raises OSError when the service fails,
    CardDeclinedError when it refuses.
    """
    body = json.dumps({"order": order.pk, "amount": order.amount_cents}).encode()
    headers = {"Content-Type": "application/json", "Idempotency-Key": f"order-{order.pk}"}
    calls.info("payments %s", order.pk)
    try:
        with urlopen(Request(settings.PAYMENT_URL, body, headers), timeout=settings.PAYMENT_TIMEOUT) as response:
            return str(json.load(response)["id"])
    except HTTPError as error:
        if error.code < 500:
            raise CardDeclinedError(f"order {order.pk}: {error.code} {error.reason}") from None
        raise ConnectionError(f"the payment service answered {error.code} {error.reason}") from None
