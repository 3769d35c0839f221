"""The service that docs/examples/async_fastapi.py asks for prices: `uvicorn tests.examples.price_service:app`."""

from __future__ import annotations

from collections.abc import AsyncIterator

from fastapi import FastAPI, HTTPException
from fastapi.responses import StreamingResponse

app = FastAPI()


@app.get("/prices/{article}")
async def price(article: str) -> dict[str, float]:
    if article == "nothing":
        raise HTTPException(404)
    return {"price": float(len(article))}


@app.get("/changes")
async def changes() -> StreamingResponse:
    async def lines() -> AsyncIterator[str]:
        for article in ("pear", "apple", "quince"):
            yield f"{article}\n"

    return StreamingResponse(lines())
