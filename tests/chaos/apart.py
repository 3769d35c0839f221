"""A bus that can be parted from its broker while tasks go on: its connections go through a proxy of the test's.

A worker whose environment has `BUS_URL` sends and hears all news there, and has everything else of the usual broker.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import socket
import threading
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from celery_breaker.plugin.bus.bus import Bus
from tests.integration.app import app

__all__ = ["BUS_URL", "Proxy", "app"]

BUS_URL = "CELERY_BREAKER_TESTS_BUS_URL"


class Proxy:
    """Forwards TCP to a port of this machine, unless it is told not to."""

    def __init__(self, port: int) -> None:
        self._target = ("127.0.0.1", port)
        self._pairs: dict[socket.socket, socket.socket] = {}
        self._selector = selectors.DefaultSelector()
        self._hangs = self._refuses = False
        self._stopping = False
        self._server = self._listen(0)
        self.port: int = self._server.getsockname()[1]
        self._thread = threading.Thread(target=self._run, name="proxy", daemon=True)
        self._thread.start()

    def url(self, url: str) -> str:
        """A broker's URL by way of this proxy."""
        parts = urlsplit(url)
        return urlunsplit(parts._replace(netloc=parts.netloc.replace(f":{self._target[1]}", f":{self.port}")))

    def hang(self) -> None:
        """Forward nothing; what is open stays open, and nobody is told."""
        self._hangs = True

    def refuse(self) -> None:
        """Cut what is open, and take no new connection."""
        self._refuses = True

    def heal(self) -> None:
        self._hangs = self._refuses = False

    def stop(self) -> None:
        self._stopping = True
        self._thread.join(5)
        for end in list(self._pairs):
            self._close(end)
        self._server.close()

    def _listen(self, port: int) -> socket.socket:
        server = socket.create_server(("127.0.0.1", port))
        self._selector.register(server, selectors.EVENT_READ)
        return server

    def _run(self) -> None:
        while not self._stopping:
            if self._hangs:
                self._selector.select(0)
                threading.Event().wait(0.01)
                continue
            if self._refuses:
                for end in list(self._pairs):
                    self._close(end)
            for key, _ in self._selector.select(0.01):
                end: Any = key.fileobj
                if end is self._server:
                    self._accept()
                elif end in self._pairs:
                    self._forward(end)

    def _accept(self) -> None:
        near, _ = self._server.accept()
        if self._refuses:
            near.close()
            return
        far = socket.create_connection(self._target)
        for one, other in ((near, far), (far, near)):
            self._pairs[one] = other
            self._selector.register(one, selectors.EVENT_READ)

    def _forward(self, end: socket.socket) -> None:
        try:
            if data := end.recv(65536):
                self._pairs[end].sendall(data)
                return
        except OSError:
            pass
        self._close(end)

    def _close(self, end: socket.socket) -> None:
        other = self._pairs.pop(end, None)
        if other is None:
            return
        with contextlib.suppress(KeyError):
            self._selector.unregister(end)
        end.close()
        self._close(other)


class _Elsewhere:
    """An app as far as a bus knows it, with another broker."""

    def __init__(self, app: Any, url: str) -> None:
        self.conf = app.conf
        self._app, self._url = app, url

    def connection_for_read(self, **options: Any) -> Any:
        return self._app.connection_for_read(self._url, **options)

    def connection_for_write(self, **options: Any) -> Any:
        return self._app.connection_for_write(self._url, **options)


_init = Bus.__init__


def _init_elsewhere(self: Bus, app: Any, **options: Any) -> None:
    _init(self, _Elsewhere(app, os.environ[BUS_URL]), **options)  # type: ignore[arg-type]


if BUS_URL in os.environ:
    Bus.__init__ = _init_elsewhere  # type: ignore[method-assign]
