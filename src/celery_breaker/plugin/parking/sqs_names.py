"""Names of queues on Amazon SQS, which allows 80 letters, digits, hyphens and underscores. Pure."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping

from celery_breaker.errors import ConfigurationError

__all__ = ["FIFO", "PREFIX", "QUARANTINE", "parking_queue", "unlisted"]

PREFIX = "celery_breaker-parked-"
"""First part of every parking queue's name; what kombu makes of that on other transports."""

QUARANTINE = "celery_breaker-quarantine"
"""As kombu writes it."""

FIFO = ".fifo"
"""Last part of the name of every FIFO queue."""

_LONGEST = 80
_DIGEST = 16
_PLAIN = re.compile(r"[A-Za-z0-9_-]+")
_ODD = re.compile(r"[^A-Za-z0-9_-]+")
_DIGESTED = re.compile(r"(?:.*-)?[0-9a-f]{16}")


def parking_queue(name: str, *, fifo: bool = False, prefix: str = "") -> str:
    """The parking queue of a breaker, without the ``queue_name_prefix``, which kombu puts before it.

    A name that SQS would not take, or that looks like what is made of such a one, gets a digest at its end: kombu alone
    would write ``a.b`` and ``a-b`` the same.

    Raises:
        ConfigurationError: the prefix leaves no room.

    Example:
        >>> parking_queue("smtp"), parking_queue("smtp", fifo=True)
        ('celery_breaker-parked-smtp', 'celery_breaker-parked-smtp.fifo')
        >>> parking_queue("webhook:a.example")
        'celery_breaker-parked-webhook_a_example-f4fa76f15df0ce09'
    """
    room = _LONGEST - len(prefix) - len(PREFIX) - len(FIFO)
    if room < _DIGEST:
        most = len(prefix) - (_DIGEST - room)
        raise ConfigurationError(f"queue_name_prefix has {len(prefix)} characters, and parking queues leave it {most}")
    own = name
    if len(name) > room or not _PLAIN.fullmatch(name) or _DIGESTED.fullmatch(name):
        digest = hashlib.sha256(name.encode()).hexdigest()[:_DIGEST]
        shown = _ODD.sub("_", name)[: max(room - _DIGEST - 1, 0)]
        own = f"{shown}-{digest}" if shown else digest
    return PREFIX + own + (FIFO if fifo else "")


def unlisted(
    listed: Mapping[str, object], breakers: Iterable[str], *, kinds: Iterable[bool], prefix: str = ""
) -> list[str]:
    """Queues that ``predefined_queues`` would have to list for these breakers to park, and does not.

    Args:
        listed: the setting; empty means that kombu makes queues as it needs them.
        kinds: whether tasks come from FIFO queues, from others, or from both.

    Example:
        >>> unlisted({"celery": {}}, ["smtp"], kinds={False})
        ['celery_breaker-parked-smtp', 'celery_breaker-quarantine']
    """
    parked = [parking_queue(name, fifo=fifo, prefix=prefix) for name in breakers for fifo in sorted(set(kinds))]
    needed = [prefix + queue for queue in ([*parked, QUARANTINE] if parked else [])]
    return [queue for queue in needed if queue not in listed] if listed else []
