"""Without the extra `async` everything works but what is asynchronous, and that says what is missing."""

from __future__ import annotations

import subprocess
import sys

WITHOUT_ANYIO = """
import asyncio, sys
sys.modules["anyio"] = None
from celery_breaker import Breaker, ConfigurationError

breaker = Breaker("smtp", store="memory://")
assert breaker.call(len, "four") == 4

async def service(): ...
async def rows(): yield
async def block():
    async with breaker: ...

def decorated(function):
    async def run(): breaker(function)
    return run

for use in (block, lambda: breaker.acall(service), decorated(service), decorated(rows)):
    try:
        asyncio.run(use())
    except ConfigurationError as exc:
        print(exc)
"""


def test_without_anyio_the_first_asynchronous_use_says_what_to_install() -> None:
    done = subprocess.run([sys.executable, "-c", WITHOUT_ANYIO], capture_output=True, text=True, check=True, timeout=60)
    assert (
        done.stdout.splitlines()
        == ["a breaker around asynchronous code needs anyio; pip install 'celery-breaker[async]'"] * 4
    ), done.stderr
