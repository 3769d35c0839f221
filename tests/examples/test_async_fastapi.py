"""docs/examples/async_fastapi.py does what the page says: real servers, one of which dies, hangs and comes back."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tests.examples import FOLDER
from tests.support.processes import Process, free_port
from tests.support.servers import RedisServer
from tests.support.waiting import eventually

ROOT = Path(__file__).parent.parent.parent


class Web(Process):
    """A server of ours under uvicorn."""

    def __init__(self, app: str, folder: Path, *args: str, cwd: Path, **env: str) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        argv = [sys.executable, "-m", "uvicorn", app, "--port", str(self.port), "--log-level", "warning", *args]
        super().__init__(argv, name=app, log=folder / f"{self.port}.log", env={**os.environ, **env}, cwd=cwd)

    def start(self) -> None:
        super().start()
        eventually(self._answers, lambda: f"{self.name} should answer:\n{self.tail()}", timeout=60)

    def _answers(self) -> bool:
        try:
            return httpx.get(f"{self.url}/docs", timeout=5).is_success
        except httpx.TransportError:
            return False


@pytest.fixture
def prices(tmp_path: Path) -> Iterator[Web]:
    server = Web("tests.examples.price_service:app", tmp_path, cwd=ROOT)
    server.start()
    yield server
    server.kill()


@pytest.fixture
def shop(prices: Web, make_redis: Callable[[], RedisServer], tmp_path: Path) -> Iterator[httpx.Client]:
    store = make_redis().url
    server = Web(
        "async_fastapi:create_app", tmp_path, "--factory", cwd=FOLDER, PRICES_URL=prices.url, BREAKER_STORE=store
    )
    server.start()
    with httpx.Client(base_url=server.url, timeout=30) as client:
        yield client
    server.kill()


def status(shop: httpx.Client, path: str = "/price/apple") -> int:
    return shop.get(path).status_code


def test_a_service_that_dies_is_left_alone_and_found_again(shop: httpx.Client, prices: Web) -> None:
    assert shop.get("/price/apple").json() == 5.0
    assert shop.get("/dearest").json() == "quince"
    prices.kill()
    assert status(shop) == 502
    eventually(lambda: status(shop) == 503, "its breaker should open", timeout=30)
    refusal = shop.get("/price/apple")
    assert "breaker 'prices' is open" in refusal.json()["detail"]
    assert int(refusal.headers["Retry-After"]) <= 3
    assert shop.get("/breaker").json() in ("open", "half_open")
    prices.start()
    eventually(lambda: status(shop) == 200, "the probe should close it", timeout=30)
    eventually(lambda: shop.get("/breaker").json() == "closed", "it should be closed", timeout=30)


def test_a_service_that_hangs_opens_it_too(shop: httpx.Client, prices: Web) -> None:
    prices.pause()
    with ThreadPoolExecutor(3) as pool:
        assert set(pool.map(lambda _: status(shop), range(3))) == {502}
    eventually(lambda: status(shop) == 503, "its breaker should open", timeout=30)
    prices.resume()
    eventually(lambda: status(shop) == 200, "the probe should close it", timeout=30)


def test_an_answer_of_not_found_is_no_failure(shop: httpx.Client) -> None:
    for _ in range(10):
        assert status(shop, "/price/nothing") == 404
    assert shop.get("/price/apple").json() == 5.0
