"""A service to await, well or down, and the ways in which a coroutine goes through a breaker to it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import anyio
import pytest

from celery_breaker.engine.breaker import Breaker

Service = Callable[[], Awaitable[object]]
Way = Callable[[Breaker, Service], Awaitable[object]]


class ServiceDown(Exception):
    retry_after = 45.0


async def down() -> None:
    await anyio.lowlevel.checkpoint()
    raise ServiceDown


async def up() -> int:
    await anyio.lowlevel.checkpoint()
    return 42


async def through_acall(breaker: Breaker, service: Service) -> object:
    return await breaker.acall(service)


async def through_with(breaker: Breaker, service: Service) -> object:
    async with breaker as entered:
        assert entered is breaker
        return await service()


async def through_decorator(breaker: Breaker, service: Service) -> object:
    return await breaker(service)()


WAYS = pytest.mark.parametrize("way", [through_acall, through_with, through_decorator])
