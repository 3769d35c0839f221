"""What an operator says about the dashboard: where it listens, who may come in, and what they may do."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from celery_breaker.errors import ConfigurationError

__all__ = ["WebOptions", "is_loopback", "users_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class WebOptions:
    """The options of the dashboard, checked. Their ``repr`` shows no secret.

    Attributes:
        address: where it listens; any but a loopback address needs ``users`` or ``tokens``.
        port: 0 is any free one.
        url_prefix: path under which everything is, as ``"/breakers"``; for a proxy that keeps it.
        users: passwords by user name, for basic auth.
        tokens: for ``Authorization: Bearer …``.
        hosts: names in a ``Host`` header that are answered, ``"*"`` for any; without, on a loopback address only its
            own names are, else any. A proxy in front, or a project that mounts the app, has a name to list here.
        allow_actions: without it nothing can be changed.
        show_args: show the arguments of parked tasks.

    Raises:
        ConfigurationError: an option cannot work, or would let strangers in.

    Example:
        >>> WebOptions(users={"eve": "secret"}, allow_actions=True)
        WebOptions(address='127.0.0.1', port=5556, url_prefix='', hosts=(), allow_actions=True, show_args=False)
    """

    address: str = "127.0.0.1"
    port: int = 5556
    url_prefix: str = ""
    users: Mapping[str, str] = field(default_factory=dict, repr=False)
    tokens: tuple[str, ...] = field(default=(), repr=False)
    hosts: tuple[str, ...] = ()
    allow_actions: bool = False
    show_args: bool = False

    def __post_init__(self) -> None:
        for name in ("tokens", "hosts"):
            if isinstance(getattr(self, name), str):  # each of its letters would be one
                raise ConfigurationError(f"{name} is one text; it must be several, like ('one', 'other')")
        object.__setattr__(self, "users", dict(self.users))
        object.__setattr__(self, "tokens", tuple(self.tokens))
        object.__setattr__(self, "url_prefix", _prefix(self.url_prefix))
        object.__setattr__(self, "hosts", tuple(host.lower() for host in self.hosts))
        if not 0 <= self.port <= 65535:
            raise ConfigurationError(f"port {self.port} is none; use one from 0 to 65535")
        if not all(name and password for name, password in self.users.items()):
            raise ConfigurationError("a user for basic auth needs a name and a password: user:password")
        if not all(token and token.isascii() and token.isprintable() and " " not in token for token in self.tokens):
            raise ConfigurationError("a token must be printable ASCII without spaces, and not empty")
        if not (is_loopback(self.address) or self.guarded):
            raise ConfigurationError(
                f"on {self.address!r} everyone who reaches it could see your breakers; set users for basic auth or a "
                "token, or listen on 127.0.0.1"
            )

    @property
    def guarded(self) -> bool:
        """Whether nobody comes in without a password or a token."""
        return bool(self.users or self.tokens)


def is_loopback(address: str) -> bool:
    """Whether only this machine reaches it.

    Example:
        >>> is_loopback("127.0.0.1"), is_loopback("::1"), is_loopback("localhost"), is_loopback("0.0.0.0")
        (True, True, True, False)
    """
    if address == "localhost":
        return True
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def users_of(pairs: Iterable[str]) -> dict[str, str]:
    """Users and passwords from ``user:password``, several in one text with commas between them.

    Raises:
        ConfigurationError: there is no colon; the message does not repeat the text, which may be a secret.

    Example:
        >>> users_of(["eve:one,adam:two"])
        {'eve': 'one', 'adam': 'two'}
    """
    users = {}
    for pair in (part for text in pairs for part in text.split(",")):
        name, colon, password = pair.partition(":")
        if not (name and colon and password):
            raise ConfigurationError("basic auth takes user:password, several of them with commas between")
        users[name] = password
    return users


def _prefix(text: str) -> str:
    prefix = "/" + text.strip("/") if text.strip("/") else ""
    if not re.fullmatch(r"[A-Za-z0-9._~/-]*", prefix) or "//" in prefix:
        raise ConfigurationError(f"url_prefix {text!r} is no path of letters, digits and . _ ~ -; write /breakers")
    return prefix
