"""``celery breaker doctor``: gathers, judges, prints, and makes an exit code of it."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import click

from celery_breaker.errors import ConfigurationError
from celery_breaker.plugin.app import breakers_of
from celery_breaker.plugin.cli import format as show
from celery_breaker.plugin.cli.session import Failure, quiet
from celery_breaker.plugin.doctor.case import Facts, Finding, Severity, some
from celery_breaker.plugin.doctor.examine import examine
from celery_breaker.plugin.doctor.facts import gather
from celery_breaker.status.words import plain

if TYPE_CHECKING:
    from celery.bin.base import CLIContext

__all__ = ["document", "exit_code", "lines", "run"]

_PROBLEM, _AWAY = 1, 4
_COLOURS = {Severity.PROBLEM: "red", Severity.HINT: "yellow"}


def run(context: CLIContext, *, strict: bool, wait: float, as_json: bool) -> int:
    """Look at everything and say what was found; the exit code."""
    breakers = breakers_of(context.app)
    with quiet():
        try:
            context.app.loader.import_default_modules()
            facts = gather(breakers, wait=wait)
        except ConfigurationError as exc:
            raise Failure(str(exc)) from exc
        finally:
            breakers.forget()
    found = examine(facts)
    if as_json:
        click.echo(show.as_json(document(facts, found)))
    else:
        colour = sys.stdout.isatty() and not getattr(context, "no_color", False)
        click.echo("\n".join(lines(facts, found, colour=colour)))
    return exit_code(facts, found, strict=strict)


def exit_code(facts: Facts, found: Sequence[Finding], *, strict: bool) -> int:
    """4 if store or broker could not be asked, else 1 if something is to be changed, else 0."""
    if facts.store.away or facts.broker.error:
        return _AWAY
    return _PROBLEM if any(strict or finding.severity is Severity.PROBLEM for finding in found) else 0


def lines(facts: Facts, found: Sequence[Finding], *, colour: bool = False) -> Iterator[str]:
    """The findings, and before them what was looked at."""
    store, broker = facts.store, facts.broker
    far = "" if store.round_trip is None else f", {store.round_trip * 1000:.1f} ms away"
    yield f"store     {store.url}{far} ({store.why})"
    yield f"broker    {broker.url}"
    yield f"workers   {_workers(facts)}"
    yield f"breakers  {some(facts.policies, 6) or 'none is declared'}"
    yield ""
    for finding in found:
        word = f"{finding.severity.value:<8}"
        word = click.style(word, fg=_COLOURS[finding.severity]) if colour else word
        yield word + "  " + plain(f"{finding.check}: {finding.says} -> {finding.cure}")
    yield from ([""] if found else [])
    yield _sum(found)


def _workers(facts: Facts) -> str:
    if facts.workers is None:
        return "cannot be asked on this broker" if not facts.broker.error else "unknown"
    return f"{len(facts.workers)} online" + (f": {some(w.name for w in facts.workers)}" if facts.workers else "")


def _sum(found: Sequence[Finding]) -> str:
    if not found:
        return "Nothing to change."
    counts = ((severity.value, _count(found, severity)) for severity in Severity)
    return ", ".join(f"{count} {name}{'' if count == 1 else 's'}" for name, count in counts if count)


def _count(found: Sequence[Finding], severity: Severity) -> int:
    return sum(finding.severity is severity for finding in found)


def document(facts: Facts, found: Sequence[Finding]) -> dict[str, object]:
    """All of it as plain values."""
    store, broker = facts.store, facts.broker
    return {
        "store": {
            "url": store.url,
            "kind": store.kind,
            "why": store.why,
            "error": store.error or None,
            "round_trip": store.round_trip,
            "skew": store.skew,
        },
        "broker": {"url": broker.url, "transport": broker.transport, "error": broker.error or None},
        "workers": None if facts.workers is None else {worker.name: worker.skew for worker in facts.workers},
        "breakers": list(facts.policies),
        "findings": [finding.as_dict() for finding in found],
        "problems": _count(found, Severity.PROBLEM),
        "hints": _count(found, Severity.HINT),
    }
