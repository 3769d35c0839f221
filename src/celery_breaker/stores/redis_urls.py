"""What a URL and options say of a Redis: which servers, how to speak to them, and what must never be shown."""

from __future__ import annotations

import pkgutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import SplitResult, parse_qsl, quote, quote_plus, unquote, urlsplit

__all__ = ["OPTIONS", "SCHEMES", "Target", "target"]

Kind = Literal["server", "sentinel", "cluster"]

SCHEMES: Mapping[str, tuple[Kind, str]] = {
    "redis": ("server", "redis"),
    "rediss": ("server", "rediss"),
    "unix": ("server", "unix"),
    "redis+socket": ("server", "unix"),
    "valkey": ("server", "redis"),
    "valkeys": ("server", "rediss"),
    "sentinel": ("sentinel", "redis"),
    "redis+cluster": ("cluster", "redis"),
    "rediss+cluster": ("cluster", "rediss"),
}
"""What each scheme means, and the scheme by which redis-py knows it."""

OPTIONS = (
    "ssl",
    "username",
    "password",
    "credential_provider",
    "master_name",
    "min_other_sentinels",
    "sentinel_kwargs",
    "global_keyprefix",
)

_PORTS: Mapping[Kind, int] = {"server": 6379, "sentinel": 26379, "cluster": 6379}

_OURS = ("master_name", "min_other_sentinels", "global_keyprefix", "virtual_host", "credential_provider")
"""Query parameters that are no arguments of a connection."""

_TRANSLATED = ("ssl_cert_reqs", "ssl_check_hostname")
"""Those that Celery writes in ways of its own."""

_VERBATIM = ("username", "password", "ssl_password")
"""Those in which a % may be meant: some versions of redis-py decode parameters twice."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Servers, and how to speak to them.

    Attributes:
        kind: one server, sentinels that know it, or some nodes of a cluster.
        nodes: hosts and ports; none for a Unix socket.
        plain: a URL of the first node that redis-py reads, without what concerns others; it may hold credentials.
        settings: further arguments of a connection; what ``plain`` says wins.
        tls: whether connections are encrypted.
        master_name, min_other_sentinels, sentinel_kwargs: as Celery's transport options have them.
        keyprefix: what stands before every key.
        shown: the address without credentials and parameters, fit for logs.
        secrets: what no message may quote.
    """

    kind: Kind
    nodes: tuple[tuple[str, int], ...]
    plain: str = field(repr=False)
    settings: Mapping[str, Any] = field(repr=False)
    tls: bool
    master_name: str = ""
    min_other_sentinels: int = 0
    sentinel_kwargs: Mapping[str, Any] = field(default_factory=dict, repr=False)
    keyprefix: str = ""
    shown: str
    secrets: tuple[str, ...] = field(repr=False)

    def censored(self, text: str) -> str:
        """The text without any of the secrets."""
        for secret in self.secrets:
            text = text.replace(secret, "**")
        return text


def target(url: str, options: Mapping[str, Any]) -> Target:
    """Read a URL, or several joined by ``;`` as Celery writes sentinels, and options; what the URL says wins.

    Raises:
        ValueError: it cannot be understood; the message quotes no credentials.

    Example:
        >>> target("sentinel://a:26379;sentinel://b/1?master_name=m", {}).nodes
        (('a', 26379), ('b', 26379))
    """
    for name in options:
        if name not in OPTIONS:
            raise ValueError(f"it has the unknown option {name!r}")
    scheme = url.partition("://")[0]
    if scheme not in SCHEMES:
        raise ValueError(f"{scheme!r} is no scheme of Redis")
    kind, protocol = SCHEMES[scheme]
    parts = [_split(part, scheme) for part in url.split(";") if part] if kind != "server" else [_split(url, scheme)]
    query: dict[str, str] = {}
    for part in reversed(parts):
        query.update(parse_qsl(part.query))
    said = {**{key: value for key, value in options.items() if value not in (None, "")}, **query}
    named = next((part for part in parts if part.username or part.password), parts[0])
    credentials = named.netloc.rpartition("@")[0]
    db = _database(kind, parts, query) if protocol != "unix" else query.get("virtual_host")
    settings = _settings(said, query)
    if kind == "sentinel" and not said.get("master_name"):
        raise ValueError("it needs the name of the master: master_name in the transport options or in the URL")
    return Target(
        kind=kind,
        nodes=tuple(_address(part, kind) for part in parts) if protocol != "unix" else (),
        plain=_plain(protocol, parts[0], credentials, db, query),
        settings=settings,
        tls=protocol == "rediss"
        or bool(said.get("ssl"))
        or (kind == "sentinel" and any("ssl_" in key for key in query)),
        master_name=str(said.get("master_name", "")),
        min_other_sentinels=int(said.get("min_other_sentinels", 0)),
        sentinel_kwargs=_tls_settings(dict(said.get("sentinel_kwargs", {}))),
        keyprefix=str(said.get("global_keyprefix", "")),
        shown=";".join(f"{scheme}://{part.netloc.rpartition('@')[2]}{part.path}" for part in parts),
        secrets=_secrets(unquote(credentials.partition(":")[2]), settings, query, said.get("sentinel_kwargs", {})),
    )


def _split(text: str, scheme: str) -> SplitResult:
    own, separator, rest = text.partition("://")
    if separator and own != scheme:
        raise ValueError(f"it joins the schemes {scheme}:// and {own}://")
    parts = urlsplit(f"{scheme}://{rest if separator else text}")
    unread = parts.path + parts.query.partition("=")[0] if parts.netloc else ""
    if "@" in unread or parts.fragment:
        raise ValueError("its user or password has a character that must be percent-encoded, like %2F for /")
    try:
        _ = parts.port
    except ValueError:
        raise ValueError("its port is no number") from None
    return parts


def _address(part: SplitResult, kind: Kind) -> tuple[str, int]:
    return unquote(part.hostname or "") or "localhost", part.port or _PORTS[kind]


def _database(kind: Kind, parts: list[SplitResult], query: Mapping[str, str]) -> str | None:
    """The number that the first part to say one says."""
    said = [part.path.strip("/") for part in parts if part.path.strip("/")] + [query.get("virtual_host", "")]
    for text in said:
        if text and not text.isdigit():
            raise ValueError(f"it ends in {text!r}, and not in the number of a database")
    db = next((text for text in said if text), None)
    if kind == "cluster" and (int(db or 0) or int(query.get("db", 0))):
        raise ValueError("a cluster has no databases but 0")
    return db


def _plain(protocol: str, first: SplitResult, credentials: str, db: str | None, query: Mapping[str, str]) -> str:
    words = {key: value for key, value in query.items() if key not in _OURS + _TRANSLATED + _VERBATIM}
    if protocol == "unix":
        place, words = f"{credentials and credentials + '@'}{first.path}", {**({"db": db} if db else {}), **words}
    else:
        host = first.netloc.rpartition("@")[2]
        place = f"{credentials and credentials + '@'}{host}/{db or ''}"
    return f"{protocol}://{place}" + ("?" if words else "") + "&".join(f"{k}={quote(v)}" for k, v in words.items())


def _settings(said: Mapping[str, Any], query: Mapping[str, str]) -> dict[str, Any]:
    settings: dict[str, Any] = {}
    if not isinstance(said.get("ssl", {}), Mapping):
        raise ValueError("its option 'ssl' is no mapping of ssl_* arguments")
    settings.update(said.get("ssl", {}))
    settings.update({key: query[key] for key in (*_TRANSLATED, *_VERBATIM) if key in query})
    if provider := said.get("credential_provider"):
        settings["credential_provider"] = _provider(provider)
    else:  # each where the URL has none, as Celery has it
        settings.update({key: said[key] for key in ("username", "password") if key in said})
    return _tls_settings(settings)


def _tls_settings(settings: dict[str, Any]) -> dict[str, Any]:
    """Celery takes ``ssl.CERT_REQUIRED`` and ``"CERT_REQUIRED"`` where redis-py wants ``"required"``."""
    if (needed := settings.get("ssl_cert_reqs")) is not None:
        settings["ssl_cert_reqs"] = str(getattr(needed, "name", needed)).removeprefix("CERT_").lower()
    if isinstance(check := settings.get("ssl_check_hostname"), str):
        settings["ssl_check_hostname"] = check.lower() not in ("false", "no", "0", "off", "")
    return settings


def _provider(provider: object) -> object:
    if not isinstance(provider, str):
        return provider
    try:
        return pkgutil.resolve_name(provider)()
    except (ImportError, AttributeError) as exc:
        raise ValueError(f"its credential_provider {provider!r} cannot be imported: {exc}") from None


def _secrets(password: str, *places: Mapping[str, Any]) -> tuple[str, ...]:
    words = {password}
    for place in places:
        words |= {str(value) for key, value in place.items() if "password" in key and value}
    found = {form for word in words if word for form in (word, quote(word, safe=""), quote(word), quote_plus(word))}
    return tuple(sorted(found, key=len, reverse=True))
