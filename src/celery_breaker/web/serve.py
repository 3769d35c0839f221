"""A server of its own for the dashboard, until it is told to end."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
from collections.abc import Callable, Iterator, Sequence

import uvicorn
from starlette.routing import BaseRoute

from celery_breaker.errors import ConfigurationError
from celery_breaker.status import Desk
from celery_breaker.web.app import create_app
from celery_breaker.web.console import Console
from celery_breaker.web.options import WebOptions

__all__ = ["serve"]

_PATIENCE = 3
"""Seconds that requests under way are given to end."""


def serve(
    desk: Desk, options: WebOptions, *, announce: Callable[[str], object], routes: Sequence[BaseRoute] = ()
) -> None:
    """Serve the dashboard until SIGTERM or SIGINT; in the main thread.

    Args:
        announce: told the address, as soon as it can be opened.
        routes: more of them, behind the same guard.

    Raises:
        ConfigurationError: the address cannot be had.
    """
    app = create_app(desk, options=options, routes=routes)
    with _listening(options) as listener:
        config = uvicorn.Config(
            app,
            log_config=None,
            access_log=False,  # a query may tell what is looked for, and proxies keep such logs better
            server_header=False,
            ws="none",
            lifespan="on",
            timeout_graceful_shutdown=_PATIENCE,
        )
        port = listener.getsockname()[1]
        host = f"[{options.address}]" if ":" in options.address else options.address
        announce(f"http://{host}:{port}{options.url_prefix}/")
        asyncio.run(_run(_Server(config), listener, app.state.console))


class _Server(uvicorn.Server):
    """Ends by itself after a signal: uvicorn's own way ends the process by the same signal once more."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def _run(server: uvicorn.Server, listener: socket.socket, console: Console) -> None:
    def leave() -> None:
        server.force_exit = server.should_exit  # the second time
        server.should_exit = True
        console.farewell()  # streams would never end by themselves

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, leave)
    await server.serve(sockets=[listener])


@contextlib.contextmanager
def _listening(options: WebOptions) -> Iterator[socket.socket]:
    family = socket.AF_INET6 if ":" in options.address else socket.AF_INET
    try:
        listener = socket.create_server((options.address, options.port), family=family, backlog=512)
    except OSError as exc:
        raise ConfigurationError(
            f"cannot listen on {options.address}, port {options.port}: {exc.strerror or exc}; choose another"
        ) from exc
    with listener:
        yield listener
