"""The reference in Python: every public name has its place there, and a docstring that shows an example."""

from __future__ import annotations

import inspect
import pkgutil
import re
from types import ModuleType

import pytest

import celery_breaker
from celery_breaker import errors, status, testing, web
from celery_breaker.plugin import signals
from celery_breaker.status import actions
from celery_breaker.stores import base, cas, memcached, memory, redis
from celery_breaker.testing import contract
from tests.docs.pages import DOCS

DIRECTIVE = re.compile(r"\.\. auto(class|exception|function|data|module):: ([\w.]+)")
METHODS = ("call", "acall", "__call__", "open", "disable", "observe", "auto", "close", "reset", "maintenance")
PROPERTIES = ("state", "mode", "retry_after", "time_since_fault", "policy")


def documented() -> dict[str, object]:
    """What the pages of the reference tell of."""
    told: dict[str, object] = {}
    for page in (DOCS / "reference" / "api").glob("*.md"):
        for kind, name in DIRECTIVE.findall(page.read_text()):
            thing = pkgutil.resolve_name(name)
            members = thing.__all__ if kind == "module" else ()
            told |= {f"{name}.{member}": getattr(thing, member) for member in members} or {name: thing}
    return told


@pytest.mark.parametrize(
    "module",
    [celery_breaker, errors, signals, testing, contract, web, status, actions, base, cas, memory, redis, memcached],
    ids=lambda module: module.__name__,
)
def test_every_public_name_is_documented(module: ModuleType) -> None:
    """A name that is missing belongs on one of the pages of `docs/reference/api`."""
    told = list(documented().values())
    names = getattr(module, "__all__", ())
    assert [name for name in names if not any(getattr(module, name) is thing for thing in told)] == []


def test_the_stores_with_more_in_their_modules_are_documented_too() -> None:
    rest = ("django.DjangoStore", "message.MessageStore", "sqlalchemy.SQLAlchemyStore")
    assert {f"celery_breaker.stores.{store}" for store in rest} <= documented().keys()


def without_example(things: dict[str, object]) -> list[str]:
    """Those whose docstring is missing, or has no section with an example."""
    shown = re.compile(r"^Example:$", re.MULTILINE)
    return [name for name, thing in things.items() if not shown.search(inspect.getdoc(thing) or "")]


def test_every_documented_class_and_function_shows_an_example() -> None:
    told = documented()
    things = {name: thing for name, thing in told.items() if inspect.isclass(thing) or inspect.isfunction(thing)}
    assert len(things) > 60
    assert without_example(things) == []


def test_all_that_a_breaker_can_do_is_shown() -> None:
    assert without_example({name: getattr(celery_breaker.Breaker, name) for name in (*METHODS, *PROPERTIES)}) == []
    public = {name for name in dir(celery_breaker.Breaker) if not name.startswith("_")}
    assert public == {*METHODS, *PROPERTIES} - {"__call__"}
