"""A web service that asks another one for prices, and says so at once while that one is down.

PRICES_URL=http://127.0.0.1:9000 uvicorn --factory async_fastapi:create_app
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio.to_thread
import httpx
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

from celery_breaker import Breaker, BreakerOpen, Policy


def classify(exception: BaseException | None, result: object) -> str | None:
    """Whoever answers 404 is there; to be told to slow down (429) is a failure, and its Retry-After is honoured."""
    if isinstance(exception, httpx.HTTPStatusError) and exception.response.status_code in (400, 404, 409, 422):
        return "success"
    return None


POLICY = Policy(max_failures=3, recovery_timeout=2, classify=classify)


class Prices:
    """The other service, as seen from here."""

    def __init__(self, client: httpx.AsyncClient, breaker: Breaker) -> None:
        self._client = client
        self.of = breaker(self._of)
        self.changes = breaker(self._changes)

    async def _of(self, article: str) -> float:
        answer = await self._client.get(f"/prices/{article}")
        answer.raise_for_status()
        return float(answer.json()["price"])

    async def _changes(self) -> AsyncIterator[str]:
        async with self._client.stream("GET", "/changes") as answer:
            answer.raise_for_status()
            async for line in answer.aiter_lines():
                yield line


def create_app() -> FastAPI:
    """The app; where the prices and the breaker's store are is in the environment."""
    breaker = Breaker("prices", policy=POLICY, store=os.environ.get("BREAKER_STORE", "redis://localhost:6379/0"))

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        # The timeout is within the breaker: a call that is merely cancelled, by a timeout outside, counts for nothing.
        async with httpx.AsyncClient(base_url=os.environ["PRICES_URL"], timeout=1.0) as client:
            app.state.prices = Prices(client, breaker)
            yield

    app = FastAPI(lifespan=lifespan)

    @app.exception_handler(BreakerOpen)
    async def unavailable(request: Request, exc: BreakerOpen) -> JSONResponse:
        headers = {} if exc.retry_after is None else {"Retry-After": f"{exc.retry_after:.0f}"}
        return JSONResponse({"detail": str(exc)}, status_code=503, headers=headers)

    @app.exception_handler(httpx.HTTPError)
    async def broken(request: Request, exc: httpx.HTTPError) -> JSONResponse:
        missing = isinstance(exc, httpx.HTTPStatusError) and exc.response.status_code == 404
        return JSONResponse({"detail": f"prices: {type(exc).__name__}"}, status_code=404 if missing else 502)

    @app.get("/price/{article}")
    async def price(article: str, request: Request) -> float:
        prices: Prices = request.app.state.prices
        return await prices.of(article)

    @app.get("/dearest")
    async def dearest(request: Request) -> str:
        prices: Prices = request.app.state.prices
        return max([line async for line in prices.changes()])

    @app.get("/breaker")
    async def state() -> str:
        return str(await anyio.to_thread.run_sync(lambda: breaker.state))  # reads the store, so not on the event loop

    return app
