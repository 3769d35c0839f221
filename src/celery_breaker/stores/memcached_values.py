"""Values in memcached: each under a key of its own, and the names of the records in a list of many parts."""

from __future__ import annotations

import logging
import math
import random
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol

from celery_breaker.errors import StoreError
from celery_breaker.stores.cas import Held, Key, Loaded
from celery_breaker.stores.memcached_clock import ServerClock
from celery_breaker.stores.memcached_forms import SHARDS, key_of, names_in, names_text, packed, shard_of, unpacked

__all__ = ["MemcachedValues", "Server"]

logger = logging.getLogger(__name__)

_AT_ONCE = 1000
"""Keys per request."""

_MARGIN = 5.0
"""Seconds that a value outlives its time: memcached's clock is whole seconds, and ours may be that far from it."""

_RELATIVE = 30 * 86_400
"""Seconds above which memcached takes a time to live for a time of day."""

_PATIENCE = 5.0
_FIRST_PAUSE, _LAST_PAUSE = 0.001, 0.05
"""Seconds for, and between, attempts to write a part of the list."""

_MOST_MET = 100_000
"""Names of breakers that a process remembers to have looked for."""


class Server(Protocol):
    """One memcached. Thread-safe; every method raises `StoreError`, and nothing else."""

    name: str
    """Host and port, fit for logs."""

    def weight(self, place: str) -> bytes:
        """Of several servers the one with the greatest keeps the value."""
        ...

    def gets(self, places: Sequence[str]) -> Mapping[str, tuple[bytes, int]]:
        """What there is at these places, with its token."""
        ...

    def write(self, place: str, data: bytes, *, token: int | None, expire: int) -> bool:
        """Write over what has this token, or where nothing is; whether it was."""
        ...

    def delete(self, place: str) -> None:
        """Remove what is there, if there is."""
        ...

    def second(self) -> int:
        """The time, in whole seconds."""
        ...

    def version(self) -> object:
        """Anything: it answers."""
        ...

    def close(self) -> None:
        """Give back connections; used again, it connects anew."""
        ...


class MemcachedValues:
    """Implements `Values`: each under a key of its own, and the names of the records in a list of many parts."""

    def __init__(self, connect: Callable[[], Sequence[Server]], *, prefix: str) -> None:
        self._connect, self._servers, self._prefix = connect, connect(), prefix
        self._clock = ServerClock()
        self._met: set[str] = set()  # breakers that were looked for before: their views know what was there
        self.url: str = f"memcached://{','.join(server.name for server in self._servers)}"

    def after_fork(self) -> None:
        """See `Values.after_fork`."""
        self._servers = self._connect()
        self._clock.after_fork()

    def close(self) -> None:
        """See `Values.close`."""
        for server in self._servers:
            server.close()

    def now(self) -> float:
        """See `Values.now`. Asks every server: if one is away, the store is."""
        for server in self._servers:
            server.version()
        self._ask_the_time()
        return self._clock.now()

    def load(self, keys: Sequence[Key]) -> Loaded:
        """See `Values.load`. In one round trip to each server, but for a look at its clock now and then."""
        self._ask_the_time()
        found = self._gets([(key.kind, key.name) for key in keys])
        self._say_lost([key.name for key in keys if key.kind == "record"], found)
        values = {key: found[key.kind, key.name] for key in keys if (key.kind, key.name) in found}
        return Loaded(self._clock.now() if keys else self.now(), values)

    def save(self, key: Key, text: str, *, over: Held | None, ttl: float | None) -> bool:
        """See `Values.save`."""
        if key.kind != "record":
            return self._put(key.kind, key.name, text, over=over, ttl=ttl)
        self._relist(key.name, listed=True)  # before the record, so that none goes unlisted
        saved = self._put(key.kind, key.name, text, over=over, ttl=ttl)
        if saved and over is None:
            self._relist(key.name, listed=True)  # else a `drop` of just then would have taken the name alone
        return saved

    def drop(self, keys: Sequence[Key]) -> None:
        """See `Values.drop`."""
        for key in keys:
            if key.kind == "record":
                self._relist(key.name, listed=False)
            place = key_of(self._prefix, key.kind, key.name)
            self._server_of(place).delete(place)

    def names(self) -> list[str]:
        """See `Values.names`. Also of records that were evicted, until they are forgotten or written again."""
        parts = self._gets([("names", str(number)) for number in range(SHARDS)])
        return [name for held in parts.values() for name in names_in(held.text)]

    def _ask_the_time(self) -> None:
        if self._clock.due():
            self._clock.ask(self._servers[0].second)

    # --- the list of names --------------------------------------------------------------------------------------------

    def _relist(self, name: str, *, listed: bool) -> None:
        """Have the name in the list, or have it not there."""
        part = ("names", shard_of(name))
        give_up_at, pause = time.monotonic() + _PATIENCE, _FIRST_PAUSE
        while True:
            held = self._gets([part]).get(part)
            names = names_in(held.text) if held else set()
            if (name in names) is listed:
                return
            if self._put(*part, names_text(names ^ {name}), over=held, ttl=None):
                return
            if time.monotonic() > give_up_at:
                raise StoreError(f"{self.url}: the list of breakers is written by too many others")
            time.sleep(pause * random.random())
            pause = min(pause * 2, _LAST_PAUSE)

    def _say_lost(self, names: Sequence[str], found: Mapping[tuple[str, str], Held]) -> None:
        """Report records that are listed and not there, unless this process met them: then `Views` puts them back."""
        strange = [name for name in names if name not in self._met]
        if len(self._met) > _MOST_MET:
            self._met.clear()
        missing = [name for name in strange if ("record", name) not in found]
        if missing:
            parts = self._gets({("names", shard_of(name)) for name in missing})
            listed = {name for held in parts.values() for name in names_in(held.text)}
            again = [("record", name) for name in missing if name in listed]
            there = self._gets(again) if again else {}  # one that is listed may be about to be written
            for _, name in again:
                if ("record", name) not in there:
                    text = "memcached lost the record of breaker %r; taken as new and closed"
                    logger.warning(text, name, extra={"breaker": name})
        self._met.update(strange)

    # --- values -------------------------------------------------------------------------------------------------------

    def _server_of(self, place: str) -> Server:
        if len(self._servers) == 1:
            return self._servers[0]
        return max(self._servers, key=lambda server: server.weight(place))

    def _gets(self, wanted: Iterable[tuple[str, str]]) -> dict[tuple[str, str], Held]:
        """What there is of these kinds and names."""
        places = {key_of(self._prefix, kind, name): (kind, name) for kind, name in wanted}
        by_server: defaultdict[Server, list[str]] = defaultdict(list)
        for place in places:
            by_server[self._server_of(place)].append(place)
        found = {}
        for server, mine in by_server.items():
            for start in range(0, len(mine), _AT_ONCE):
                for place, (data, token) in server.gets(mine[start : start + _AT_ONCE]).items():
                    kind, name = places[place]
                    found[kind, name] = Held(unpacked(self._prefix, kind, name, data), token)
        return found

    def _put(self, kind: str, name: str, text: str, *, over: Held | None, ttl: float | None) -> bool:
        place, data = key_of(self._prefix, kind, name), packed(self._prefix, kind, name, text)
        expire = 0 if ttl is None else math.ceil(ttl + _MARGIN)
        if expire > _RELATIVE:
            expire += int(self._clock.now())
        return self._server_of(place).write(place, data, token=over.token if over else None, expire=expire)
