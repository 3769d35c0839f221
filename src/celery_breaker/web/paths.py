"""Names of breakers in paths: any character, a slash too, percent-encoded.

A server decodes a path before it is matched, so ``%2F`` would be a slash like any other. Here the two stay apart.
"""

from __future__ import annotations

from urllib.parse import quote, unquote

from starlette.convertors import Convertor, register_url_convertor
from starlette.types import Scope

__all__ = ["apart", "quoted"]


class _Name(Convertor[str]):
    """``{name:breaker}`` in a route."""

    regex = "[^/]+"

    def convert(self, value: str) -> str:
        return unquote(value)

    def to_string(self, value: str) -> str:
        return quoted(value)


register_url_convertor("breaker", _Name())


def quoted(name: str) -> str:
    """A name as one segment of a path.

    Example:
        >>> quoted("webhook:a/b c")
        'webhook%3Aa%2Fb%20c'
    """
    return quote(name, safe="")


def apart(scope: Scope) -> Scope:
    """The scope with a path in which ``%`` and encoded slashes are still encoded, for routes with names."""
    raw: bytes | None = scope.get("raw_path")
    if raw is None:
        path = scope["path"].replace("%", "%25")
    else:
        text = raw.partition(b"?")[0].decode("latin-1")
        path = unquote(text.replace("%25", "%2525").replace("%2F", "%252F").replace("%2f", "%252F"))
    return {**scope, "path": path}
