"""What the figures were measured on: machine and versions."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path

import psutil

from bench.servers import MissingServer, rabbitmq_path, redis_path

PACKAGES = ("celery-breaker", "celery", "kombu", "billiard", "py-amqp", "redis", "pymemcache", "SQLAlchemy", "Django")
PACKAGES += ("psycopg", "PyMySQL")
PEERS = ("pybreaker", "interlock-cb", "circuitbreaker", "purgatory")
_DISTRIBUTIONS = {"py-amqp": "amqp", "redis": "redis"}
_SHOWN = {"redis": "redis-py"}


def machine() -> Mapping[str, str]:
    """CPU, cores, memory, kernel."""
    return {
        "CPU": _cpu(),
        "cores": f"{os.cpu_count()}",
        "memory": f"{psutil.virtual_memory().total / 2**30:.1f} GiB",
        "kernel": f"{platform.system()} {platform.release()}",
    }


def versions() -> Mapping[str, str]:
    """Python, packages, servers and peers; what is not installed is not listed."""
    found = {"Python": f"{platform.python_implementation()} {platform.python_version()}"}
    for name in PACKAGES:
        found[_SHOWN.get(name, name)] = _version(_DISTRIBUTIONS.get(name, name))
    found |= {"Redis": _redis(), "RabbitMQ": _rabbitmq()}
    found |= {name: _version(name) for name in PEERS}
    return {name: version for name, version in found.items() if version}


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    match = re.search(r"^model name\s*:\s*(.+)$", info.read_text(), re.MULTILINE) if info.exists() else None
    return match[1] if match else platform.processor() or platform.machine()


def _version(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return ""


def _redis() -> str:
    try:
        said = subprocess.run([redis_path(), "--version"], capture_output=True, text=True, check=False, timeout=10)
    except (MissingServer, OSError):
        return ""
    match = re.search(r"v=(\S+)", said.stdout)
    return match[1] if match else ""


def _rabbitmq() -> str:
    """From the folder that the start script is in, which every package names after the version."""
    try:
        match = re.search(r"rabbitmq_server-([\d.]+)", str(Path(rabbitmq_path()).resolve()))
    except MissingServer:
        return ""
    return match[1] if match else "unknown"
