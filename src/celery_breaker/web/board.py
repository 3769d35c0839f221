"""The overview: which breakers are shown on a page, in which order, and what they add up to. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from celery_breaker.core.record import Mode
from celery_breaker.status import Status
from celery_breaker.web.rows import LOOKS, look_of

__all__ = ["FILTERS", "PAGE", "Leaf", "Query", "Summary", "leaf_of", "query_of", "summary_of"]

PAGE = 200
"""Breakers on a page."""

FILTERS = {**LOOKS, "overridden": "overridden by hand", "parked": "with parked tasks"}
"""What a list can be narrowed down to, as addresses name it, and in words."""


@dataclass(frozen=True, slots=True)
class Query:
    """Which breakers to show: those with ``text`` in the name, and of this one of `FILTERS`; pages begin at 1."""

    text: str = ""
    state: str = ""
    page: int = 1


@dataclass(frozen=True, slots=True)
class Leaf:
    """One page of a list: who is on it, which of how many pages it is, and of how many breakers that fit the query."""

    statuses: tuple[Status, ...]
    query: Query
    pages: int
    found: int


@dataclass(frozen=True, slots=True)
class Summary:
    """What all breakers add up to; ``parked`` is ``None`` if the broker could not be asked."""

    total: int
    open: int
    half_open: int
    forced: int
    overridden: int
    parked: int | None


def query_of(parameters: Mapping[str, str]) -> Query:
    """What an address asks for; what it cannot ask for is left out.

    Example:
        >>> query_of({"q": " smtp ", "state": "purple", "page": "-3"})
        Query(text='smtp', state='', page=1)
    """
    state = parameters.get("state", "")
    page = parameters.get("page", "")
    return Query(
        text=parameters.get("q", "").strip()[:200],
        state=state if state in FILTERS else "",
        page=max(1, int(page)) if page.isdecimal() and page.isascii() and len(page) < 8 else 1,
    )


def leaf_of(statuses: Iterable[Status], query: Query, *, size: int = PAGE) -> Leaf:
    """The page that was asked for, of these in this order; the last one if there are fewer."""
    found = [status for status in statuses if _fits(status, query)]
    pages = max(1, -(-len(found) // size))
    page = min(query.page, pages)
    return Leaf(tuple(found[(page - 1) * size : page * size]), replace(query, page=page), pages, len(found))


def summary_of(statuses: Sequence[Status]) -> Summary:
    """What they add up to."""
    looks = [look_of(status) for status in statuses]
    parked = [status.parked for status in statuses if status.parked is not None]
    return Summary(
        total=len(looks),
        open=looks.count("open"),
        half_open=looks.count("half-open"),
        forced=looks.count("forced-open"),
        overridden=looks.count("disabled") + looks.count("observing"),
        parked=sum(parked) if parked or not looks else None,
    )


_FITS: dict[str, Callable[[Status], bool]] = {
    "": lambda status: True,
    "overridden": lambda status: status.mode != Mode.AUTO,
    "parked": lambda status: bool(status.parked),
}


def _fits(status: Status, query: Query) -> bool:
    if query.text and query.text.casefold() not in status.name.casefold():
        return False
    test = _FITS.get(query.state)
    return test(status) if test else look_of(status) == query.state
