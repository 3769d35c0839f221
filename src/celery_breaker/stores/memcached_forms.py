"""What the memcached store writes, and where: servers of a URL, keys that memcached takes, values that say whose."""

from __future__ import annotations

import hashlib
import json
import re
import zlib
from collections.abc import Iterable

__all__ = ["SHARDS", "key_of", "names_in", "names_text", "packed", "servers_in", "shard_of", "unpacked"]

SHARDS = 256
"""Parts of the list of names: each is written over as a whole, and must stay well below a megabyte."""

_PORT = 11211
_LONGEST_KEY = 250
_COMPRESSED_FROM = 64 * 1024
"""Bytes from which a value is compressed; memcached takes no more than a megabyte."""
_LARGEST = 64 * 1024 * 1024
"""Bytes that a value may come to when it is unpacked; above it is not ours."""

_ZIPPED = b"z"


def servers_in(url: str) -> list[tuple[str, int] | str]:
    """The servers of a URL, as Celery writes it too, in an order that does not hang on theirs; a path is a Unix socket.

    Raises:
        ValueError: there is none, or one that cannot be understood.

    Example:
        >>> servers_in("cache+memcached://b:11212;a/")
        [('a', 11211), ('b', 11212)]
        >>> servers_in("memcached:///run/memcached.sock")
        ['/run/memcached.sock']
    """
    rest = url.partition("://")[2]
    if "?" in rest:
        raise ValueError("a memcached URL takes no options after '?'")
    if "@" in rest:
        raise ValueError("this store does not log in to memcached; leave out user and password")
    places = {_server(place) for place in re.split("[;,]", rest) if place.strip("/")}
    if not places:
        raise ValueError("it names no server")
    return sorted(places, key=str)


def _server(place: str) -> tuple[str, int] | str:
    place = place.removeprefix("unix:").strip()
    if place.startswith("/"):
        return place
    found = re.fullmatch(r"(?:\[([0-9A-Fa-f:.%\w]+)\]|([^\s:/\[\]]+))(?::(\d{1,5}))?/?", place)
    if found is None or not 0 < (port := int(found[3] or _PORT)) < 65536:
        raise ValueError(f"{place!r} is not a host and its port")
    return (found[1] or found[2]).lower(), port


def key_of(prefix: str, kind: str, name: str) -> str:
    """Where a value is kept: readable where memcached takes it and nothing else can look like it, else a hash.

    Example:
        >>> key_of("celery-breaker", "record", "smtp")
        'celery-breaker:record:smtp'
    """
    key = f"{prefix}:{kind}:{name}"
    if ":" not in prefix and len(key) <= _LONGEST_KEY and re.fullmatch("[!-~]+", key):
        return key
    return f"celery-breaker#{hashlib.sha256(_owner(prefix, kind, name)).hexdigest()}"


def _owner(prefix: str, kind: str, name: str) -> bytes:
    return json.dumps([prefix, kind, name]).encode()


def packed(prefix: str, kind: str, name: str, text: str) -> bytes:
    """A value with what it is and whose, so that a stranger's under the same key is not taken for it."""
    data = _owner(prefix, kind, name) + b"\n" + text.encode("utf-8", "surrogatepass")
    return data if len(data) < _COMPRESSED_FROM else _ZIPPED + zlib.compress(data, 1)


def unpacked(prefix: str, kind: str, name: str, data: bytes) -> str:
    """Read what `packed` wrote; of what is not ours, nothing."""
    try:
        if data.startswith(_ZIPPED):
            zipped = zlib.decompressobj()
            data = zipped.decompress(data[1:], _LARGEST)
            if not zipped.eof:
                return ""
        owner, found, text = data.partition(b"\n")
        return text.decode("utf-8", "surrogatepass") if found and owner == _owner(prefix, kind, name) else ""
    except (zlib.error, UnicodeDecodeError):
        return ""


def shard_of(name: str) -> str:
    """Which part of the list of names this one is in."""
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).digest()
    return str(int.from_bytes(digest[:4], "big") % SHARDS)


def names_text(names: Iterable[str]) -> str:
    """A part of the list of names."""
    return json.dumps(sorted(names))


def names_in(text: str) -> set[str]:
    """Read what `names_text` wrote; of what is none, nothing."""
    try:
        names = json.loads(text)
    except (ValueError, RecursionError):
        return set()
    return {name for name in names if isinstance(name, str)} if isinstance(names, list) else set()
