"""What ``celery breaker web`` does: the dashboard on the app's desk, in a server of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from celery_breaker.plugin import exports
from celery_breaker.plugin.cli.session import Failure, opened

if TYPE_CHECKING:
    from celery.bin.base import CLIContext

__all__ = ["run"]


def run(
    context: CLIContext, *, basic_auth: Sequence[str], tokens: Sequence[str], hosts: Sequence[str], **asked: object
) -> None:
    """Serve until told to end.

    Args:
        basic_auth: ``user:password``, one or more in a text.
        asked: the other options of `WebOptions`.
    """
    try:
        from celery_breaker.web.options import WebOptions, users_of
        from celery_breaker.web.scrape import metrics_route
        from celery_breaker.web.serve import serve
    except ImportError as exc:
        if (exc.name or "").startswith("celery_breaker"):
            raise
        raise Failure(f"the dashboard needs {exc.name}: pip install 'celery-breaker[web]'") from exc

    with opened(context, reach=False) as desk:
        options = WebOptions(users=users_of(basic_auth), tokens=tuple(tokens), hosts=tuple(hosts), **asked)  # type: ignore[arg-type]
        can = "shows and steers" if options.allow_actions else "only shows; --allow-actions lets it steer"
        expose = exports.exposer()
        if expose is None:
            click.echo("It has no /metrics for want of prometheus_client: pip install 'celery-breaker[prometheus]'")
        serve(
            desk,
            options,
            announce=lambda url: click.echo(f"Dashboard on {url} ({can}). Ctrl-C ends it."),
            routes=[] if expose is None else [metrics_route(expose)],
        )
