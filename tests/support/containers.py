"""Nodes in containers of a Docker engine: the same `Process` to a test, in a file system and a process tree of its own.

`CELERY_BREAKER_IMAGE` names the image that they run; `make test-docker` builds it and sets that. Without it, nodes are
processes. Nodes are what a fleet is made of: workers, beat, and the servers in between (Redis in all its forms, and
RabbitMQ). The databases, memcached and SQS are processes in either form, as is whatever a test runs beside its fleet:
commands, dashboards, monitors.

Containers share the machine's network, so addresses are as ever; the tests' tree and the node's folder are there under
the same names. A run that is killed may leave some behind: `docker ps --filter name=celery-breaker-` shows them.
"""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TypeVar, cast

import psutil

from tests.support.processes import Process
from tests.support.waiting import eventually

P = TypeVar("P", bound=Process)

_TREE = Path(__file__).parent.parent.parent
_IMAGE = os.environ.get("CELERY_BREAKER_IMAGE", "")
_MACHINE = dict(os.environ)
"""What a container is not told: its image has a PATH and so on of its own."""

_numbers = itertools.count(1)


def contained() -> bool:
    """Whether nodes are containers."""
    return bool(_IMAGE)


def node_of(kind: type[P]) -> type[P]:
    """The class to make a node of: `kind` itself, or where nodes are containers, the like that runs in one."""
    return cast("type[P]", type(kind.__name__, (Contained, kind), {})) if contained() else kind


class Contained(Process):
    """Comes before another `Process`, whose command it runs in a container."""

    _container = ""

    def _command(self) -> Iterator[str]:
        self._container = f"celery-breaker-{os.getpid()}-{next(_numbers)}"
        yield from ("docker", "run", "--rm", "--network", "host", "--name", self._container)
        yield from ("--user", f"{os.getuid()}:{os.getgid()}")  # who can then read and remove what it writes
        yield from ("--volume", f"{_TREE}:{_TREE}:ro")
        if self.cwd is not None:
            yield from ("--volume", f"{self.cwd}:{self.cwd}", "--workdir", str(self.cwd))
        for name, value in (self.env or {}).items():
            if _MACHINE.get(name) != value:
                yield from ("--env", f"{name}={value}")
        yield _IMAGE
        yield from ("python3" if word == sys.executable else word for word in self.argv)

    @property
    def pid(self) -> int:
        """Of the first process in the container, as the machine counts them."""
        return eventually(self._pid, self.tail, timeout=60)

    def _pid(self) -> int:
        if not self.running:
            raise RuntimeError(f"{self.name} does not run:\n{self.tail()}")
        return int(self._docker("inspect", "--format", "{{.State.Pid}}") or 0)

    def _family(self) -> list[psutil.Process]:
        with suppress(RuntimeError, psutil.NoSuchProcess):  # it is ending
            return [psutil.Process(self.pid)]
        return []

    def signal(self, signum: int) -> None:
        """Send a signal to the first process in the container, once there is one."""
        told = ("kill", "--signal", str(int(signum)))
        eventually(lambda: not self.running or self._docker(*told), f"{self.name} should get it", timeout=60)

    def kill(self) -> None:
        """SIGKILL to all that runs in the container, which is gone then."""
        self.signal(signal.SIGKILL)
        if self._popen is not None:
            self._popen.wait(30)
        super().kill()

    def _docker(self, *command: str) -> str:
        """What docker says of the container; nothing if there is none."""
        done = subprocess.run(["docker", *command, self._container], capture_output=True, text=True, check=False)
        return done.stdout.strip()
