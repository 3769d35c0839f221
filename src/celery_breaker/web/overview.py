"""The overview as a drawing."""

from __future__ import annotations

from celery_breaker.status.sampler import Seen
from celery_breaker.web.banners import alarms, banners
from celery_breaker.web.board import Leaf, Query, Summary, leaf_of
from celery_breaker.web.drawing import Drawing, Part
from celery_breaker.web.rows import LOOKS, Row, look_of
from celery_breaker.web.templating import address, render
from celery_breaker.web.wall import Wall

__all__ = ["banner_part", "overview"]


def overview(wall: Wall, seen: Seen, query: Query, *, tend_interval: float) -> Drawing:
    """Breakers that fit a query, one page of them."""
    statuses, summary = wall.ordered(seen)
    leaf = leaf_of(statuses, query)
    return Drawing(
        title=_title(summary),
        parts={
            "banners": banner_part(seen, tend_interval=tend_interval),
            "summary": Part(summary, lambda now: render("summary.html", summary=summary)),
            "pager": _pager(leaf),
        },
        rows={status.name: _row(wall.row(status, seen)) for status in leaf.statuses},
        looks={
            **alarms(seen, tend_interval=tend_interval),
            **{status.name: LOOKS[look_of(status)] for status in leaf.statuses},
        },
    )


def banner_part(seen: Seen, *, tend_interval: float) -> Part:
    """What must be said above everything else."""
    found = banners(seen, tend_interval=tend_interval)
    return Part(found, lambda now: render("banners.html", banners=found, now=now))


def _row(row: Row) -> Part:
    return Part(row, lambda now: render("row.html", row=row, now=now))


def _pager(leaf: Leaf) -> Part:
    query = leaf.query

    def to(page: int) -> str:
        return address("./", q=query.text, state=query.state, page=page) if 1 <= page <= leaf.pages else ""

    def draw(now: float) -> str:
        return render(
            "pager.html",
            page=query.page,
            pages=leaf.pages,
            found=leaf.found,
            filtered=bool(query.text or query.state),
            links={"before": to(query.page - 1), "after": to(query.page + 1)},
        )

    return Part((query, leaf.pages, leaf.found), draw)


def _title(summary: Summary) -> str:
    """For the tab: what is down, in a word."""
    down = summary.open + summary.half_open + summary.forced
    return f"({down:,}) Breakers" if down else "Breakers"
