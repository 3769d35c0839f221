"""Child processes that cannot outlive the test run.

Each child leads a process group of its own, which is ended as a whole: at the end of the fixture, else at interpreter
exit. Should pytest itself be killed, Linux ends the child with it (`setpriv --pdeathsig`, where util-linux has it).
That last net hangs on the *thread* that started the child: start processes from the main thread.
"""

from __future__ import annotations

import atexit
import contextlib
import itertools
import os
import random
import re
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import psutil

from tests.support.waiting import eventually

_LIVE: set[Process] = set()
_PARENT = os.getpid()

_PORTS = range(11_000, 21_000)
"""Below those that Linux gives to clients, and 10,000 below as many that nodes of a cluster of Redis take besides."""


def share_of_ports(number: int, of: int) -> range:
    """What one of so many processes takes its ports from."""
    share = len(_PORTS) // of
    return _PORTS[number * share : (number + 1) * share]


def _in_turn() -> Iterator[int]:
    """The ports of this process, each after all the others."""
    number = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    ours = share_of_ports(number, int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")))
    begin = random.randrange(len(ours))  # there may be another run on this machine
    return itertools.cycle([*ours[begin:], *ours[:begin]])


_ports = _in_turn()


def free_port() -> int:
    """A TCP port on loopback that nobody listens on now, and that will not be had from here again for long."""
    for port in _ports:
        with socket.socket() as sock, contextlib.suppress(OSError):
            sock.bind(("127.0.0.1", port))
            return port
    raise AssertionError("the ports have no end")


def _with_parent(argv: Iterable[str]) -> list[str]:
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "KILL", "--", *argv] if setpriv else list(argv)


def _stands_still(process: psutil.Process) -> bool:
    try:
        return process.status() in (psutil.STATUS_STOPPED, psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


class Process:
    """One child process with its log file. `start` may be called again after it ended; the log is appended to.

    `user` is whom it runs as, where that is not ourselves; only root can ask for that.
    """

    def __init__(
        self,
        argv: Sequence[str],
        *,
        name: str,
        log: Path,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        user: str | None = None,
    ) -> None:
        self.argv = list(argv)
        self.name = name
        self.log_path = log
        self.env = dict(env) if env is not None else None
        self.cwd = cwd
        self.user = user
        self._popen: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        if self.running:
            return
        with self.log_path.open("ab") as log:
            self._popen = subprocess.Popen(
                _with_parent(self._command()),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self.env,
                cwd=self.cwd,
                user=self.user,
                extra_groups=[] if self.user else None,
                start_new_session=True,
            )
        _LIVE.add(self)

    def _command(self) -> Iterable[str]:
        """What is executed."""
        return self.argv

    @property
    def pid(self) -> int:
        if self._popen is None:
            raise RuntimeError(f"{self.name} was never started")
        return self._popen.pid

    @property
    def returncode(self) -> int | None:
        """The exit status, negative for a signal; None while it runs or before it ever ran."""
        return self._popen.poll() if self._popen else None

    @property
    def running(self) -> bool:
        return self._popen is not None and self._popen.poll() is None

    def logs(self) -> str:
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def wait_for_log(self, pattern: str, *, timeout: float = 30.0) -> re.Match[str]:
        """Wait until the regular expression `pattern` is found in the log; return the match."""
        return eventually(
            lambda: re.search(pattern, self.logs()),
            lambda: f"{self.name} should log {pattern!r}; its log ends:\n{self.tail()}",
            timeout=timeout,
        )

    def tail(self, lines: int = 60) -> str:
        return "\n".join(self.logs().splitlines()[-lines:])

    def signal(self, signum: int) -> None:
        """Send a signal to the process itself, not to its children."""
        if self.running:
            os.kill(self.pid, signum)

    def pause(self) -> None:
        """Freeze it: its sockets stay open and nothing answers (a hang, not a crash)."""
        if self.running:
            family = self._tell_family(signal.SIGSTOP)
            # The signal reaches their threads one by one.
            eventually(lambda: all(map(_stands_still, family)), f"{self.name} should stand still")

    def resume(self) -> None:
        if self.running:
            self._tell_family(signal.SIGCONT)

    def _tell_family(self, signum: int) -> list[psutil.Process]:
        family = self._family()
        for process in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(signum)
        return family

    def _family(self) -> list[psutil.Process]:
        """Who is frozen with it."""
        return [psutil.Process(self.pid)]

    def wait(self, timeout: float = 30.0) -> int:
        """Wait for its end; return the exit status."""
        if self._popen is None:
            raise RuntimeError(f"{self.name} was never started")
        try:
            status = self._popen.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.name} still runs after {timeout:g} s:\n{self.tail()}") from None
        self._end_group()
        return status

    def kill(self) -> None:
        """SIGKILL to the process and all its children, as the kernel or a power cut would."""
        if self._popen is None:
            return
        self._end_group()
        self._popen.wait(30)

    def stop(self, timeout: float = 15.0) -> int | None:
        """SIGTERM, wait up to `timeout` seconds, then SIGKILL. Returns the exit status."""
        if self._popen is None:
            return None
        if self.running:
            self.signal(signal.SIGTERM)
            self.resume()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._popen.wait(timeout)
        self.kill()
        return self._popen.returncode

    def _end_group(self) -> None:
        # The leader's pid names the group for as long as anyone is in it, so no stranger can have taken the number.
        assert self._popen is not None
        if self in _LIVE:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._popen.pid, signal.SIGKILL)
            _LIVE.discard(self)


@atexit.register
def _end_all() -> None:
    if os.getpid() != _PARENT:
        return
    for process in list(_LIVE):
        process.kill()
