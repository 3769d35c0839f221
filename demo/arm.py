"""One arm of the demo: a whole shop with its Redis, its mail server, its payment service and its two workers."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import redis

from demo.processes import ROOT, Child, Family, free_port, wait_for_port
from demo.record import Record, Recorder, Sample
from demo.redis_server import start_redis
from demo.scenario import Scenario

PROJECT = ROOT / "example_project"
CELERY = [sys.executable, "-m", "celery", "-A", "shop"]
PARKED = "celery_breaker.parked.smtp"
"""The list in Redis that holds the parked mails."""
WORKERS = 2
SLOTS = 2
"""Pool processes of each worker."""


@dataclass(frozen=True, slots=True)
class Kind:
    """What sets the two arms apart."""

    name: str
    title: str
    settings: str
    has_breaker: bool


BREAKER = Kind("breaker", "with celery-breaker", "shop.settings", has_breaker=True)
NAIVE = Kind("naive", "plain autoretry_for", "shop.settings_naive", has_breaker=False)


class Arm:
    """Starts the shop's processes, takes its mail server down and up, and watches."""

    def __init__(self, kind: Kind, family: Family, directory: Path) -> None:
        """Prepare only; nothing runs yet."""
        self.kind = kind
        self._family = family
        self._directory = directory
        directory.mkdir()
        self._ports = {name: free_port() for name in ("redis", "smtp", "payments")}
        self.mail_server: Child | None = None
        self._migration: Child | None = None
        self._customers: Child | None = None
        self._recorder = Recorder(
            orders=directory / "orders.jsonl",
            calls=directory / "calls.log",
            mails=directory / "smtp.jsonl",
            states=directory / "breaker.jsonl",
        )
        self._redis = redis.Redis(port=self._ports["redis"], socket_timeout=5)

    @property
    def record(self) -> Record:
        """What has happened so far."""
        return self._recorder.record

    @property
    def environment(self) -> dict[str, str]:
        """The environment of the shop's processes, clean of whatever the user's own holds for Celery or Django."""
        foreign = ("CELERY", "DJANGO", "SHOP_", "FORKED_BY")
        ours = {
            "DJANGO_SETTINGS_MODULE": self.kind.settings,
            "SHOP_BROKER_URL": f"redis://127.0.0.1:{self._ports['redis']}/0",
            "SHOP_DATABASE": str(self._directory / "shop.sqlite3"),
            "SHOP_SMTP_PORT": str(self._ports["smtp"]),
            "SHOP_PAYMENT_URL": f"http://127.0.0.1:{self._ports['payments']}/charges",
            "SHOP_CALL_LOG": str(self._directory / "calls.log"),
            "SHOP_TEND_INTERVAL": "1",
        }
        return {key: value for key, value in os.environ.items() if not key.startswith(foreign)} | ours

    def start_services(self, redis_executable: str) -> None:
        """Start Redis, the two servers and the creation of the database."""
        self._migration = self._manage("migrate", "migrate", "--verbosity=0")
        start_redis(self._family, redis_executable, self._directory, self._ports["redis"])
        self._serve("payments")
        wait_for_port(self._ports["smtp"], self.start_mail_server())

    def start_workers(self) -> None:
        """Once the database is there, start the workers, and beat where there is a breaker for it to look after."""
        if self._migration is not None:
            self._migration.finish()
        for name in self._worker_names:
            self._celery(name, "worker", f"--hostname={name}@shop", f"--concurrency={SLOTS}")
        if self.kind.has_breaker:
            self._celery("beat", "beat", f"--schedule={self._directory / 'beat-schedule'}", "--pidfile=")
            command = [*CELERY, "breaker", "watch", "--json", "--interval=0.1"]
            self._spawn_in_project("breaker watch", command, stdout=self._directory / "breaker.jsonl")

    def start_dashboard(self) -> str:
        """Start the dashboard on this shop; its address."""
        port = free_port()
        command = [*CELERY, "breaker", "web", f"--port={port}", "--allow-actions"]
        wait_for_port(port, self._spawn_in_project("breaker web", command), seconds=60)
        return f"http://127.0.0.1:{port}/"

    def workers_ready(self) -> bool:
        """Whether all workers have said so in their logs."""
        logs = [self._directory / f"{name}.log" for name in self._worker_names]
        return all(log.exists() and " ready." in log.read_text(errors="replace") for log in logs)

    def start_customers(self, scenario: Scenario, start_at: float) -> None:
        """Let orders come from `start_at` (Unix time) on."""
        options = {"rate": scenario.rate, "seconds": scenario.orders_for, "seed": scenario.seed, "start-at": start_at}
        words = [f"--{key}={value}" for key, value in options.items()]
        self._customers = self._manage("customers", "place_orders", *words, stdout=self._directory / "orders.jsonl")

    def customers_done(self) -> bool:
        """Whether the last order has been placed."""
        return self._customers is not None and self._customers.status() is not None

    def at_rest(self) -> bool:
        """Whether no more orders come and nothing is left to do: each mail is delivered, or no message waits."""
        last = self.record.samples[-1]
        return self.customers_done() and (self.record.delivered_all or last.queued + last.parked == 0)

    def start_mail_server(self) -> Child:
        """Bring the mail server up, for the first time or again."""
        self.mail_server = self._serve("smtp")
        return self.mail_server

    def look(self) -> Sample:
        """See how things stand, and keep it in the record."""
        self._recorder.refresh()
        queued = int(self._redis.llen("celery")) + int(self._redis.hlen("unacked"))
        sample = Sample(time.time(), self.record.undelivered, queued, int(self._redis.llen(PARKED)))
        self.record.samples.append(sample)
        return sample

    @property
    def _worker_names(self) -> list[str]:
        return [f"worker{number}" for number in range(1, WORKERS + 1)]

    def _serve(self, kind: str) -> Child:
        journal = self._directory / f"{kind}.jsonl"
        words = ["-m", "demo.servers", kind, f"--port={self._ports[kind]}", f"--journal={journal}"]
        return self._family.spawn(f"{kind} server", [sys.executable, *words], self._directory / f"{kind}.log")

    def _manage(self, name: str, *words: str, stdout: Path | None = None) -> Child:
        command = [sys.executable, "manage.py", *words]
        return self._spawn_in_project(name, command, stdout=stdout, lasting=False)

    def _celery(self, name: str, *words: str) -> Child:
        return self._spawn_in_project(name, [*CELERY, *words, "--loglevel=INFO"])

    def _spawn_in_project(
        self, name: str, command: list[str], *, stdout: Path | None = None, lasting: bool = True
    ) -> Child:
        return self._family.spawn(
            f"{name} ({self.kind.title})",
            command,
            self._directory / f"{name}.log",
            env=self.environment,
            cwd=PROJECT,
            stdout=stdout,
            lasting=lasting,
        )
