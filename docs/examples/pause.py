"""A mailer whose workers leave the mail queue alone while the mail server is down.

$ celery -A pause worker -Q mail,celery
"""

from __future__ import annotations

import os
import smtplib

from celery import Celery

from celery_breaker import BreakerTask

app = Celery("shop", broker=os.environ.get("SHOP_BROKER", "redis://localhost"))
app.conf.task_routes = {"shop.send": {"queue": "mail"}}
app.conf.breakers = {"smtp": {"on_open": "pause"}}


@app.task(name="shop.send", base=BreakerTask, breaker="smtp", autoretry_for=(OSError,), retry_backoff=True)
def send(to: str, text: str) -> None:
    """Runs in the queue ``mail``, which no other task uses."""
    with smtplib.SMTP("localhost", timeout=10) as server:
        server.sendmail("shop@example.org", to, text)


@app.task(name="shop.count")
def count(words: str) -> int:
    """Runs in the default queue, and is not held up."""
    return len(words.split())
