"""example_project: what its Procfile starts rides out an outage, and its containers run the same."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import yaml

from tests.support.processes import Process, free_port
from tests.support.servers import RedisServer
from tests.support.waiting import eventually
from tests.support.workers import ROOT

PROJECT = ROOT / "example_project"
PROCFILE = dict(line.split(": ", 1) for line in (PROJECT / "Procfile").read_text().splitlines())

OF_THE_PROCFILE = pytest.mark.processes("they are those of the project's Procfile")


class Shop:
    """The processes of the Procfile, on ports and files of their own; Redis is the tests'."""

    def __init__(self, folder: Path, redis_url: str) -> None:
        self.folder = folder
        self.database = folder / "shop.sqlite3"
        payments = free_port()
        self.env = {
            **{
                key: value for key, value in os.environ.items() if not key.startswith(("PYTEST_", "CELERY_", "DJANGO_"))
            },
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONUNBUFFERED": "1",
            "SHOP_BROKER_URL": redis_url,
            "SHOP_DATABASE": str(self.database),
            "SHOP_RUN": str(folder),
            "SHOP_SMTP_PORT": str(free_port()),
            "SHOP_DASHBOARD_PORT": str(free_port()),
            "PAYMENTS_PORT": str(payments),
            "SHOP_PAYMENT_URL": f"http://127.0.0.1:{payments}/charges",
            "SHOP_RECOVERY_TIMEOUT": "1",
            "SHOP_MAX_RECOVERY_TIMEOUT": "1",
        }
        self.processes: dict[str, Process] = {}

    def start(self, name: str) -> None:
        process = Process(
            ["sh", "-c", f"exec {PROCFILE[name]}"],
            name=name,
            log=self.folder / f"{name}.log",
            env=self.env,
            cwd=PROJECT,
        )
        process.start()
        self.processes[name] = process

    def run(self, *args: str) -> str:
        return subprocess.run(args, cwd=PROJECT, env=self.env, check=True, capture_output=True, text=True).stdout

    def orders(self, *statuses: str) -> int:
        """How many orders have come so far."""
        marks = ",".join("?" * len(statuses))
        with closing(sqlite3.connect(self.database)) as database:
            [count] = database.execute(
                f"SELECT count(*) FROM orders_order WHERE status IN ({marks})", statuses
            ).fetchone()
        return int(count)

    def parked(self) -> int:
        said = subprocess.run(
            ["celery", "-A", "shop", "breaker", "status", "smtp", "--json"],
            cwd=PROJECT,
            env=self.env,
            check=False,
            capture_output=True,
            text=True,
        )
        return int(json.loads(said.stdout)["parked"] or 0)

    def stop(self) -> None:
        for process in self.processes.values():
            process.stop()


@pytest.fixture
def shop(tmp_path: Path, redis_server: RedisServer) -> Iterator[Shop]:
    with redis_server.client(5) as client:
        client.flushdb()
    here = Shop(tmp_path, redis_server.url_for(5))
    yield here
    here.stop()
    with redis_server.client(5) as client:
        client.flushdb()


@OF_THE_PROCFILE
@pytest.mark.timeout(240)
def test_what_the_procfile_starts_rides_out_an_outage(shop: Shop) -> None:
    shop.run("python", "manage.py", "migrate")
    for name in PROCFILE:
        if name != "redis":
            shop.start(name)
    shop.run("python", "manage.py", "place_orders", "--rate", "20", "--seconds", "1")
    eventually(lambda: shop.orders("placed", "paid") == 0, "all should be confirmed", timeout=60)
    shop.processes["mail"].stop()
    shop.run("python", "manage.py", "place_orders", "--rate", "20", "--seconds", "2")
    eventually(lambda: shop.parked() > 0, "mails should wait", timeout=60)
    assert shop.orders("paid") > 0
    shop.start("mail")
    eventually(lambda: shop.orders("placed", "paid") == 0, "all should be confirmed in the end", timeout=60)
    assert "celery-breaker" in shop.run(
        "python",
        "-c",
        f"import urllib.request as r; print(r.urlopen('http://127.0.0.1:{shop.env['SHOP_DASHBOARD_PORT']}/').read().decode())",
    )
    for name, process in shop.processes.items():
        assert process.running, f"{name} ended:\n{process.tail()}"


@OF_THE_PROCFILE
def test_its_own_tests_pass(shop: Shop) -> None:
    shop.run("python", "manage.py", "test")


def test_the_containers_run_what_the_procfile_runs() -> None:
    services = yaml.safe_load((PROJECT / "docker-compose.yml").read_text())["services"]
    in_containers = {command.split(" --", 1)[0] for service in services.values() if (command := service.get("command"))}
    assert {command.split(" --", 1)[0] for command in PROCFILE.values()} <= in_containers | {"redis-server"}
    for name, service in services.items():
        assert {*service.get("depends_on", {})} <= {*services}, name


@pytest.mark.skipif(shutil.which("docker") is None, reason="no docker here")
def test_docker_can_read_the_containers() -> None:
    if subprocess.run(["docker", "compose", "version"], check=False, capture_output=True).returncode:
        pytest.skip("no docker compose here")
    subprocess.run(["docker", "compose", "config", "--quiet"], cwd=PROJECT, check=True)
