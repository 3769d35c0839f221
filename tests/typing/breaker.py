"""A breaker changes no signature: not of functions, of coroutine functions, nor of async generator functions."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

from typing_extensions import assert_type  # mypy brings it

from celery_breaker import Breaker

breaker = Breaker("smtp")


@breaker
def send(to: str, *, retries: int = 0) -> bytes:
    return b""


@breaker
async def fetch(page: int, *, size: int = 10) -> list[str]:
    return []


@breaker
async def rows(count: int) -> AsyncIterator[int]:
    yield count


@breaker
async def echo() -> AsyncGenerator[str, bytes]:
    yield ""


@asynccontextmanager
@breaker
async def connection(host: str) -> AsyncIterator[bool]:
    yield True


class Client:
    @breaker
    async def ping(self, host: str) -> float:
        return 0.0


async def checked() -> None:
    assert_type(send("a", retries=1), bytes)
    assert_type(await fetch(1, size=2), list[str])
    assert_type(rows(3), AsyncIterator[int])
    assert_type([row async for row in rows(3)], list[int])
    assert_type(await echo().asend(b""), str)
    assert_type(await Client().ping("a"), float)
    async with connection("a") as connected:
        assert_type(connected, bool)

    assert_type(breaker.call(len, "four"), int)
    assert_type(await breaker.acall(fetch, 1, size=2), list[str])
    with breaker as entered:
        assert_type(entered, Breaker)
    async with breaker as awaited:
        assert_type(awaited, Breaker)

    as_it_is: Callable[[int], Coroutine[Any, Any, int]] = breaker(doubled)
    assert_type(await as_it_is(2), int)


async def doubled(number: int) -> int:
    return 2 * number


async def refused() -> None:
    """What is wrong is found: mypy complains of an `ignore` that hides nothing."""
    await fetch("one")  # type: ignore[arg-type]
    await fetch(1, sise=2)  # type: ignore[call-arg]
    await breaker.acall(fetch, "one")  # type: ignore[arg-type]
    await breaker.acall(len, "four")  # type: ignore[arg-type]
    with breaker:
        send(1)  # type: ignore[arg-type]
