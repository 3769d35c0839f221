"""`Breaker` around coroutines and async generators: what is guarded keeps its signature."""

# pyright: strict, reportUnnecessaryTypeIgnoreComment=true

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

from typing_extensions import assert_type

from celery_breaker import Breaker

prices = Breaker("typing-prices", store="memory://")


async def ask(page: int, *, size: int = 10) -> list[str]:
    """Stands for what is called."""
    return [str(page)] * size


@prices
async def guarded(page: int, *, size: int = 10) -> list[str]:
    """The same, behind the breaker."""
    return await ask(page, size=size)


@prices
async def rows(count: int) -> AsyncIterator[int]:
    """An async generator that is only iterated over."""
    yield count


@prices
async def echo() -> AsyncGenerator[str, bytes]:
    """One that is also sent to."""
    yield ""


@asynccontextmanager
@prices
async def connection(host: str) -> AsyncGenerator[bool, None]:
    """One that becomes a context manager."""
    yield bool(host)


class Client:
    """Methods are guarded like functions."""

    @prices
    async def ping(self, host: str) -> float:
        """Of a class."""
        return float(len(host))


async def calls() -> None:
    """Calls have the result of what they call."""
    assert_type(await prices.acall(ask, 1), list[str])
    assert_type(await prices.acall(ask, 1, size=2), list[str])
    assert_type(await guarded(1, size=2), list[str])
    assert_type(await Client().ping("a"), float)
    assert_type(rows(3), AsyncIterator[int])
    assert_type([row async for row in rows(3)], list[int])
    assert_type(await echo().asend(b""), str)
    async with connection("a") as connected:
        assert_type(connected, bool)
    async with prices as entered:
        assert_type(entered, Breaker)


async def mistakes() -> None:
    """What a type checker must not let pass."""
    await guarded("one")  # type: ignore[arg-type]
    await guarded(1, sise=2)  # type: ignore[call-arg]
    await prices.acall(ask, "one")  # type: ignore[arg-type]
    await prices.acall(len, "four")  # type: ignore[arg-type]
    rows("three")  # type: ignore[arg-type]
