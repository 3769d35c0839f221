"""The demo's child processes: each in a group of its own, and none of them outlives the demo."""

from __future__ import annotations

import contextlib
import ctypes
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
_PR_SET_PDEATHSIG = 1
_ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class DemoError(Exception):
    """The demo cannot go on; its text says why."""


def free_port() -> int:
    """A free TCP port below the range that the kernel gives to clients.

    A client of a server that is down could otherwise be handed that very port, and meet itself.
    """
    for _ in range(200):
        port = random.SystemRandom().randrange(20_000, 32_000)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise DemoError("found no free TCP port between 20000 and 32000")


def wait_for_port(port: int, child: Child, seconds: float = 15.0) -> None:
    """Return once something listens on `port`; raise DemoError if `child` dies first or takes too long."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        child.check()
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.03)
    raise DemoError(f"{child.name} did not start listening within {seconds:.0f} s; see {child.log}")


@dataclass(slots=True)
class Child:
    """A process of the demo.

    Attributes:
        log: the file that its output goes to.
        lasting: it is to run until it is asked to end; otherwise it is to end by itself, with status 0.
    """

    name: str
    process: subprocess.Popen[bytes]
    log: Path
    lasting: bool

    def status(self) -> int | None:
        """Its exit status, or None while it runs. It is not reaped, so that its number stays its own until `end`."""
        if self.process.returncode is not None or not hasattr(os, "waitid"):  # macOS has it from Python 3.13 on
            return self.process.poll()
        result = os.waitid(os.P_PID, self.process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        if result is None:
            return None
        return result.si_status if result.si_code == os.CLD_EXITED else -result.si_status

    def check(self) -> None:
        """Raise DemoError, with the end of its output, if it has ended as it should not."""
        status = self.status()
        if status is None or (status == 0 and not self.lasting):
            return
        tail = self.log.read_text(errors="replace").splitlines()[-15:]
        raise DemoError("\n".join([f"{self.name} ended with status {status}; its last words:", *tail]))

    def finish(self, seconds: float = 60.0) -> None:
        """Wait until it has ended by itself; raise DemoError if it fails or takes too long."""
        deadline = time.monotonic() + seconds
        while self.status() is None:
            if time.monotonic() > deadline:
                raise DemoError(f"{self.name} did not finish within {seconds:.0f} s; see {self.log}")
            time.sleep(0.03)
        self.check()

    def ask(self) -> None:
        """Ask it to end in its own way."""
        if self.status() is None:
            os.kill(self.process.pid, signal.SIGTERM)

    def end(self, deadline: float) -> None:
        """Wait for it until `deadline` (monotonic), then kill whatever is left of its group, and reap it."""
        while self.status() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        if self.process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


class Family:
    """All children of the demo; see `family`."""

    def __init__(self) -> None:
        """Start with no children."""
        self._children: list[Child] = []

    def spawn(
        self,
        name: str,
        command: Sequence[str],
        log: Path,
        *,
        env: Mapping[str, str] | None = None,
        cwd: Path = ROOT,
        stdout: Path | None = None,
        lasting: bool = True,
    ) -> Child:
        """Start a process in a session of its own; `stdout` may go to a file apart from the log."""
        with contextlib.ExitStack() as files:
            err = files.enter_context(log.open("ab"))
            out = files.enter_context(stdout.open("ab")) if stdout else err
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                env=None if env is None else dict(env),
                cwd=cwd,
                start_new_session=True,
                preexec_fn=_die_with_parent(),  # noqa: PLW1509 - the demo has no threads
            )
        child = Child(name, process, log, lasting)
        self._children.append(child)
        return child

    def end(self, *children: Child, seconds: float = 4.0) -> None:
        """Ask these children to end, all at once; kill those that have not after some `seconds`."""
        for child in children:
            child.ask()
        deadline = time.monotonic() + seconds
        for child in reversed(children):
            child.end(deadline)
        self._children = [child for child in self._children if child not in children]

    def end_all(self) -> None:
        """End every one of them."""
        self.end(*self._children)

    def check(self) -> None:
        """Raise DemoError if a child has ended as it should not."""
        for child in self._children:
            child.check()


@contextlib.contextmanager
def family() -> Iterator[Family]:
    """Child processes for the length of a ``with`` block: its end ends them all, whatever it is, Ctrl-C included."""
    for number in _ENDINGS:
        signal.signal(number, _interrupt)
    children = Family()
    try:
        yield children
    finally:
        for number in _ENDINGS:
            signal.signal(number, signal.SIG_IGN)  # a second Ctrl-C must not leave half of them behind
        children.end_all()


def _interrupt(number: int, frame: object) -> None:
    """What Ctrl-C does in Python, for all signals that ask to end."""
    raise KeyboardInterrupt


def _die_with_parent() -> Callable[[], None] | None:
    """To be run in a child before exec: the kernel shall end it should the demo be killed outright (Linux only)."""
    if sys.platform != "linux":
        return None
    parent, libc = os.getpid(), ctypes.CDLL(None, use_errno=True)

    def bind() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)

    return bind
