"""``celery breaker web`` as users start it: a process of its own, a real Redis, a real worker, and a client."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.integration import guarded
from tests.support.processes import Process, free_port
from tests.support.servers import RedisServer
from tests.support.service import Service
from tests.support.waiting import eventually
from tests.support.workers import WorkerFactory, celery_argv, environment

POLICY = {"max_failures": 3, "failure_rate": 0, "recovery_timeout": 600.0, "max_recovery_timeout": 600.0}
LOGIN = ("eve", "secret")


class Dashboard(Process):
    """A dashboard, and a client of its REST API."""

    @property
    def url(self) -> str:
        return self.wait_for_log(r"Dashboard on (http://\S+/) \(")[1]

    def client(self, **how: Any) -> httpx.Client:
        return httpx.Client(base_url=f"{self.url}api/v1", timeout=20, trust_env=False, **how)


@pytest.fixture
def settings(worker_factory: WorkerFactory, redis_server: RedisServer) -> dict[str, Any]:
    with redis_server.client(2) as client:
        client.flushdb()
    imports = ["tests.integration.tasks", "tests.integration.guarded"]
    ours = {"imports": imports, "breakers": {"svc": POLICY}, "breaker_store": redis_server.url_for(2)}
    return worker_factory.settings(conf=ours)


@pytest.fixture
def dashboard(worker_factory: WorkerFactory, settings: dict[str, Any], tmp_path: Path) -> Callable[..., Dashboard]:
    """`dashboard(*args, env=…, conf=…)` → one that listens, on a free port."""

    def start(*args: str, env: Mapping[str, str] | None = None, conf: Mapping[str, Any] | None = None) -> Dashboard:
        argv = celery_argv("breaker", "web", "--port", "0", *args)
        name = f"dashboard-{len(list(tmp_path.glob('dashboard-*')))}"
        log = tmp_path / f"{name}.log"
        process = Dashboard(argv, name=name, log=log, env=environment({**settings, **(conf or {})}, env))
        worker_factory.keep(process)
        process.start()
        assert process.url
        return process

    return start


class Events:
    """What a stream tells, with the time when it came; read by a thread."""

    def __init__(self, client: httpx.Client) -> None:
        self.heard: list[tuple[float, str, dict[str, Any]]] = []
        self.ended = False
        self._client = client
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()
        eventually(lambda: self.heard, "the stream should say hello")

    def _read(self) -> None:
        kind = ""
        with (
            suppress(httpx.RemoteProtocolError),  # its dashboard was killed
            self._client.stream("GET", "/events", timeout=None) as answer,
        ):
            for line in answer.iter_lines():
                field, _, value = line.partition(": ")
                if field == "event":
                    kind = value
                elif field == "data":
                    self.heard.append((time.time(), kind, json.loads(value)))
            self.ended = True

    def _told(self, name: str) -> list[tuple[float, dict[str, Any]]]:
        """What was told of one breaker, and when."""
        changed = ((at, status) for at, _, data in self.heard for status in data.get("changed", []))
        return [(at, status) for at, status in changed if status["name"] == name]

    def opened(self, name: str, times: int) -> float:
        """When it was told to be open for the nth time; 0 if it was not yet."""
        generations = {
            status["generation"]: at for at, status in reversed(self._told(name)) if status["state"] == "open"
        }
        return generations[sorted(generations)[times - 1]] if len(generations) >= times else 0.0

    def generation(self, name: str) -> int:
        """The last that was told."""
        return max((int(status["generation"]) for _, status in self._told(name)), default=0)


@pytest.fixture
def client(dashboard: Callable[..., Dashboard]) -> Iterator[httpx.Client]:
    with dashboard("--basic-auth", ":".join(LOGIN), "--allow-actions").client(auth=LOGIN) as client:
        yield client


def test_a_trip_is_told_within_a_second(
    client: httpx.Client, settings: dict[str, Any], worker_factory: WorkerFactory, service: Service
) -> None:
    worker = worker_factory(conf=settings)
    assert worker.app is not None
    events = Events(client)
    service.go_down()
    lags: list[float] = []
    while not lags or (min(lags) >= 1.0 and len(lags) < 3):  # the machine may be busy, but not each time
        for number in range(3):
            guarded.once.delay(service.folder, number)
        trips = len(lags) + 1
        told = eventually(lambda n=trips: events.opened("svc", n), "the trip should be told", timeout=30)  # type: ignore[misc]
        lags.append(told - next(entry["at"] for entry in history(client) if entry["what"] == "open"))
        shown = client.get("/breakers", params={"state": "open"}).json()["items"]
        assert [item["name"] for item in shown] == ["svc"]
        client.post("/breakers/svc/reset", json={})
        eventually(lambda n=trips: events.generation("svc") >= 2 * n, "the reset should be told")  # type: ignore[misc]
    assert min(lags) < 1.0, lags
    failures = eventually(lambda: client.get("/breakers/svc/failures").json()["items"], "failures should be noted")
    assert failures[0]["task"] == "guarded.once"
    workers = eventually(lambda: client.get("/workers").json()["items"], "the worker should be seen")
    assert [each["name"] for each in workers] == [worker.hostname]


def history(client: httpx.Client) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = client.get("/breakers/svc/history").json()["items"]
    return items


def test_who_may_opens_a_breaker_and_workers_park_until_it_is_closed(
    client: httpx.Client, settings: dict[str, Any], worker_factory: WorkerFactory, service: Service
) -> None:
    worker = worker_factory(conf=settings)
    assert worker.app is not None
    opened = client.post("/breakers/svc/open", json={"reason": "we move", "expires": 3600})
    assert (opened.status_code, opened.json()["override_by"]) == (200, "web:eve")

    def parked() -> Any:
        guarded.once.delay(service.folder, 1)
        return client.get("/breakers/svc/parked").json()["items"]

    [first, *_] = eventually(parked, "tasks should be parked", timeout=20)
    assert (first["task"], first["args"]) == ("guarded.once", None)
    assert client.post("/breakers/svc/close", json={}).json()["state"] == "closed"
    eventually(service.served, "the backlog should come back", timeout=20)


def test_without_rights_nothing_is_done(dashboard: Callable[..., Dashboard]) -> None:
    shows = dashboard("--token", "only-shows")
    acts = dashboard("--allow-actions", env={"CELERY_BREAKER_WEB_TOKEN": "may-act"})
    with shows.client(headers={"Authorization": "Bearer only-shows"}) as client:
        assert client.get("/breakers").status_code == 200
        refused = client.post("/breakers/svc/open", json={})
        assert (refused.status_code, refused.headers["content-type"]) == (403, "application/problem+json")
    with acts.client() as client:
        assert client.post("/breakers/svc/open", json={}).status_code == 401
        assert client.get("/breakers").status_code == 401
        token = {"Authorization": "Bearer may-act"}
        assert client.get("/breakers/svc", headers=token).json()["mode"] == "auto"
        assert client.post("/breakers/svc/open", json={}, headers=token).json()["override_by"] == "web:token"
    for process in (shows, acts):
        assert "only-shows" not in process.logs()
        assert "may-act" not in process.logs()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_soon_and_well_though_somebody_listens(dashboard: Callable[..., Dashboard], number: int) -> None:
    process = dashboard()
    with process.client() as client:
        events = Events(client)
        process.signal(number)
        assert process.wait(10) == 0
        eventually(lambda: events.ended, "the stream should end")
    assert "Traceback" not in process.logs()
    assert "rror" not in process.logs()


def test_it_starts_without_the_store_and_says_so(dashboard: Callable[..., Dashboard]) -> None:
    process = dashboard(conf={"breaker_store": f"redis://127.0.0.1:{free_port()}/0"})
    with process.client() as client:
        assert client.get("/breakers").status_code == 503
        assert client.get("/store").json()["reached"] is False
    assert process.running


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["--address", "0.0.0.0"], "set users for basic auth or a token"),
        (["--basic-auth", "hunter2"], "user:password"),
        (["--address", "192.0.2.1", "--token", "t"], "cannot listen on 192.0.2.1"),
    ],
)
def test_what_cannot_be_is_said_in_a_sentence(
    celery_command: Callable[..., Any], settings: dict[str, Any], args: list[str], words: str
) -> None:
    done = celery_command("breaker", "web", "--port", "0", *args, conf=settings)
    assert done.returncode == 1
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert "hunter2" not in done.stderr


def test_without_its_extra_it_says_what_to_install(
    celery_command: Callable[..., Any], settings: dict[str, Any], tmp_path: Path
) -> None:
    # In the command's working directory, which python looks through first.
    (tmp_path / "uvicorn.py").write_text("raise ModuleNotFoundError('no', name='uvicorn')")
    done = celery_command("breaker", "web", conf=settings)
    assert done.returncode == 1
    assert "pip install 'celery-breaker[web]'" in done.stderr
    assert "Traceback" not in done.stderr
