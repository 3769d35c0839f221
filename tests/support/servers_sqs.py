"""Amazon's SQS of our own, by moto: `sqs_server` for the session, which the `broker` fixtures clear.

It keeps everything in memory, and can say which requests it got.
"""

from __future__ import annotations

import base64
import json
import os
import sys
import urllib.request
from collections import Counter
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.processes import free_port
from tests.support.servers import Server, lent, missing, numbers, started

if TYPE_CHECKING:
    from collections.abc import Mapping

REGION = "eu-central-1"
_REMEMBERED = ("_queue_cache", "_predefined_queue_clients", "_predefined_queue_async_clients")
_TARGET = "X-Amz-Target"
"""Header that names the action."""


class SQSServer(Server):
    """A `moto_server` that knows SQS."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        argv = [sys.executable, "-c", "from moto.server import main; main()", "-H", "127.0.0.1", "-p", str(self.port)]
        env = {key: value for key, value in os.environ.items() if not key.startswith(("AWS_", "MOTO_"))}
        env["MOTO_RECORDER_FILEPATH"] = str(folder / "requests")
        super().__init__(argv, name=f"sqs-{next(numbers)}", log=folder / "sqs.log", env=env, cwd=folder)

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def conf(self, **options: Any) -> dict[str, Any]:
        """What an app must be told of it; ``options`` are further transport options."""
        return {
            "broker_url": f"sqs://key:secret@127.0.0.1:{self.port}//",
            "broker_transport_options": {
                "region": REGION,
                "is_secure": False,
                "wait_time_seconds": 1,
                "polling_interval": 0.1,
                "visibility_timeout": 60,
                **options,
            },
        }

    def client(self) -> Any:
        """boto3's client."""
        import boto3

        return boto3.client(
            "sqs",
            region_name=REGION,
            endpoint_url=self.endpoint,
            aws_access_key_id="key",
            aws_secret_access_key="secret",
        )

    def queues(self) -> dict[str, str]:
        """URLs of all queues, by name."""
        return {url.rpartition("/")[2]: url for url in self.client().list_queues().get("QueueUrls", [])}

    def attributes(self, queue: str) -> Mapping[str, str]:
        """Of one queue."""
        answer = self.client().get_queue_attributes(QueueUrl=self.queues()[queue], AttributeNames=["All"])
        found: Mapping[str, str] = answer["Attributes"]
        return found

    def reset(self) -> None:
        """Forget all queues, here too: connections in pools remember them, and before kombu 5.6 the whole process."""
        from kombu import pools
        from kombu.transport.SQS import Channel

        self._call("reset", post=True)
        pools.reset()
        for kept in (getattr(Channel, name, None) for name in _REMEMBERED):
            if isinstance(kept, dict):
                kept.clear()

    def record(self) -> None:
        """Note requests from this moment on."""
        self._call("recorder/reset-recording", post=True)
        self._call("recorder/start-recording", post=True)

    def recorded(self) -> Counter[tuple[str, str]]:
        """How many requests of each action there were since `record`, with the queue that they were about."""
        self._call("recorder/stop-recording", post=True)
        entries = [json.loads(line) for line in self._call("recorder/download-recording").splitlines()]
        return Counter(_action(entry) for entry in entries if _TARGET in entry["headers"])

    def _answers(self) -> bool:
        try:
            self._call("data.json")
        except OSError:
            return False
        return True

    def _call(self, path: str, *, post: bool = False) -> str:
        request = urllib.request.Request(f"{self.endpoint}/moto-api/{path}", method="POST" if post else "GET")
        with urllib.request.urlopen(request, timeout=10) as answer:
            return str(answer.read().decode())


def _action(entry: Mapping[str, Any]) -> tuple[str, str]:
    about = json.loads(base64.b64decode(entry["body"]) if entry.get("body_encoded") else entry["body"])
    queue = str(about.get("QueueUrl") or about.get("QueueName") or about.get("QueueNamePrefix") or "")
    return str(entry["headers"][_TARGET]).rpartition(".")[2], queue.rpartition("/")[2]


def new_sqs(folder: Path) -> SQSServer:
    """A started SQS; the caller kills it."""
    for package in ("moto", "boto3", "pycurl", "flask"):
        if find_spec(package) is None:
            missing(f"{package}, for Amazon SQS,")
    return started(SQSServer(folder))


@pytest.fixture(scope="session")
def sqs_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SQSServer]:
    yield from lent(new_sqs, tmp_path_factory, "sqs")
