"""A FastAPI app that sends guarded tasks, answers 503 while the bank is down, and carries the dashboard."""

from __future__ import annotations

import math

from celery import Celery
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

from celery_breaker import Breaker, BreakerOpen, BreakerTask
from celery_breaker.status.default import current_desk
from celery_breaker.web import WebOptions, create_app

celery = Celery("shop", broker="redis://localhost:6379/0")
celery.conf.breakers = {"mail": {"max_failures": 5}, "bank": {"max_failures": 3}}

api = FastAPI()
bank = Breaker("bank")


@celery.task(base=BreakerTask, breaker="mail", ignore_result=True)
def send_receipt(order: int) -> None:
    """Would send a mail."""


def charge_card(order: int) -> str:
    """Would call the bank."""
    return f"charge-{order}"


@api.post("/orders/{order}", status_code=202)
def place(order: int) -> dict[str, int]:
    """Sends the task, whether the mail server is up or not: if it is down, the task waits."""
    send_receipt.delay(order)
    return {"order": order}


@api.post("/charges/{order}")
def charge(order: int) -> dict[str, str]:
    """Calls the bank while the customer waits, so it should fail fast."""
    return {"charge": bank.call(charge_card, order)}


@api.exception_handler(BreakerOpen)
def unavailable(request: Request, exc: BreakerOpen) -> JSONResponse:
    """A refused call, in HTTP's words."""
    headers = {} if exc.retry_after is None else {"Retry-After": str(math.ceil(exc.retry_after))}
    return JSONResponse({"detail": str(exc)}, status_code=503, headers=headers)


api.mount("/breakers", create_app(current_desk(), options=WebOptions(users={"eve": "secret"}, hosts=("shop.example",))))
