"""Nodes in containers of a Docker engine: the same `Process` to a test, in a file system and a process tree of its own.

`CELERY_BREAKER_NODES=containers` has `celery_setup` use these, of the image in `CELERY_BREAKER_IMAGE`; both are set by
`make test-docker`, which builds the image. Containers share the machine's network, so addresses are as ever; the tests'
tree and the node's folder are there under the same names.
"""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from collections.abc import Iterator

from tests.support.processes import Process
from tests.support.servers import RedisServer
from tests.support.waiting import eventually
from tests.support.workers import ROOT, Worker

_numbers = itertools.count(1)


def contained() -> bool:
    """Whether nodes are to be containers."""
    return os.environ.get("CELERY_BREAKER_NODES") == "containers"


class Contained(Process):
    """Comes before a `Process`, whose command it runs in a container."""

    container = ""

    def start(self, **patience: float) -> None:
        """Start it as its class does, which may wait for an answer for ``timeout`` seconds."""
        if self.running:
            return
        own, self.argv = self.argv, list(self._run())
        try:
            super().start(**patience)
        finally:
            self.argv = own

    def _run(self) -> Iterator[str]:
        self.container = f"celery-breaker-{os.getpid()}-{next(_numbers)}"
        yield from ("docker", "run", "--rm", "--network", "host", "--name", self.container)
        yield from ("--volume", f"{ROOT}:{ROOT}:ro")
        if self.cwd is not None:
            yield from ("--volume", f"{self.cwd}:{self.cwd}", "--workdir", str(self.cwd))
        for name, value in (self.env or {}).items():
            if os.environ.get(name) != value:
                yield from ("--env", f"{name}={value}")
        yield os.environ["CELERY_BREAKER_IMAGE"]
        yield from ("python3" if word == sys.executable else word for word in self.argv)

    @property
    def pid(self) -> int:
        """Of the first process in the container, as the machine counts them."""
        return eventually(self._pid, lambda: f"{self.name} should run:\n{self.tail()}", timeout=60)

    def _pid(self) -> int:
        asked = ["docker", "inspect", "--format", "{{.State.Pid}}", self.container]
        told = subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip()
        return int(told or 0)

    def kill(self) -> None:
        """Remove the container with all that runs in it."""
        if self.container:
            subprocess.run(["docker", "rm", "--force", self.container], capture_output=True, check=False)
        super().kill()


class ContainedWorker(Contained, Worker):
    """A worker in a container."""


class ContainedRedis(Contained, RedisServer):
    """A Redis in a container."""
