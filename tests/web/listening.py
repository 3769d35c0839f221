"""A client of server-sent events, on the ASGI app itself: as slow as a test wants it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from tests.web.desks import API

Message = MutableMapping[str, Any]
App = Callable[[Any, Any, Any], Awaitable[None]]

PATIENCE = 10.0


class Listener:
    """`async with Listener(app) as heard: await heard.event()`. `slow` keeps the server waiting from then on."""

    def __init__(self, app: App, path: str = f"{API}/events", headers: dict[str, str] | None = None) -> None:
        self._app = app
        self._path = path
        self._headers = {"host": "localhost", **(headers or {})}
        self._chunks: asyncio.Queue[bytes] = asyncio.Queue()
        self._left = asyncio.Event()
        self._taken = asyncio.Event()
        self._taken.set()
        self.start: Message = {}
        self.ended = asyncio.Event()

    async def __aenter__(self) -> Listener:
        scope = {
            "type": "http",
            "method": "GET",
            "scheme": "http",
            "path": self._path,
            "raw_path": self._path.encode(),
            "query_string": b"",
            "root_path": "",
            "headers": [(name.lower().encode(), value.encode()) for name, value in self._headers.items()],
            "client": ("127.0.0.1", 1),
        }
        self._task = asyncio.create_task(self._app(scope, self._receive, self._send))  # type: ignore[arg-type]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._left.set()
        self._taken.set()
        await asyncio.wait_for(self._task, PATIENCE)

    async def _receive(self) -> Message:
        await self._left.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        await self._taken.wait()
        if message["type"] == "http.response.start":
            self.start = message
        else:
            self._chunks.put_nowait(message["body"])
            if not message.get("more_body"):
                self.ended.set()

    def slow(self) -> None:
        """Take nothing more."""
        self._taken.clear()

    async def chunk(self) -> str:
        """What comes next."""
        return (await asyncio.wait_for(self._chunks.get(), PATIENCE)).decode()

    async def event(self) -> tuple[str, Any]:
        """The next event: its kind and its data."""
        fields = dict(line.split(": ", 1) for line in (await self.chunk()).strip().splitlines())
        return fields["event"], json.loads(fields["data"])

    async def until_ended(self) -> None:
        """The server has no more for this client."""
        await asyncio.wait_for(asyncio.shield(self._task), PATIENCE)
