"""Names, and names made from a call's arguments."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from celery_breaker.core.names import MAX_NAME, check_name, fields_of, fill, is_name
from celery_breaker.errors import ConfigurationError


@pytest.mark.parametrize(
    "name", ["smtp", "webhook:example.org", "Zürich 🏦", "a/b{c}", "x" * MAX_NAME, "日" * MAX_NAME]
)
def test_a_printable_name_is_allowed(name: str) -> None:
    assert check_name(name) == name
    assert is_name(name) is True


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("", "non-empty string"),
        (None, "non-empty string"),
        (b"smtp", "non-empty string"),
        (5, "non-empty string"),
        ("x" * (MAX_NAME + 1), f"^breaker name '{'x' * 40}'… has 201 characters; use at most 200$"),
        ("a\nb", "control characters"),
        ("a\x00", "control characters"),
        ("\ud800", "control characters"),
    ],
)
def test_any_other_is_refused(name: object, says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        check_name(name)  # type: ignore[arg-type]
    assert is_name(name) is False  # type: ignore[arg-type]


@given(st.text(max_size=300))
def test_an_allowed_name_can_be_written_to_any_store(name: str) -> None:
    try:
        check_name(name)
    except ConfigurationError:
        return
    assert name.encode().decode() == name


@pytest.mark.parametrize(
    ("template", "fields"),
    [
        ("smtp", ()),
        ("webhook:{host}", ("host",)),
        ("{a}-{b.name}-{a[0]}", ("a", "b")),
        ("literal {{braces}}", ()),
        ("{amount:.0f}", ("amount",)),
    ],
)
def test_a_template_names_the_arguments_it_needs(template: str, fields: tuple[str, ...]) -> None:
    assert fields_of(template) == fields


REFUSED = {
    "{": " is not a valid template: ",
    "}": " is not a valid template: ",
    "{}": ": {} does not name an argument of the task",
    "{0}": ": {0} does not name an argument of the task",
    "{a b}": ": {a b} does not name an argument of the task",
    "{__class__}": ": {__class__} does not name an argument of the task",
    "{a._secret}": ": {a._secret} does not name an argument of the task",
    "{a.__class__}": ": {a.__class__} does not name an argument of the task",
}


@pytest.mark.parametrize("template", REFUSED)
def test_a_template_that_cannot_work_or_looks_behind_the_scenes_is_refused(template: str) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        fields_of(template)
    assert str(refusal.value).startswith(f"breaker name {template!r}{REFUSED[template]}")


def test_a_template_with_an_unknown_conversion_is_refused_when_it_is_filled() -> None:
    with pytest.raises(ConfigurationError):
        fill("{a!q}", {"a": 1})


def test_a_template_is_filled_from_the_arguments() -> None:
    order = SimpleNamespace(shop="zürich")
    assert fill("{order.shop}:{items[0]}:{n:03d}", {"order": order, "items": ["a"], "n": 7}) == "zürich:a:007"


@pytest.mark.parametrize(
    ("template", "says"),
    [
        ("{host}", "needs the argument 'host'"),
        ("{order.shop}", "needs the argument .*shop"),
        ("{order:d}", "cannot be made from this call's arguments"),
        ("{empty}", "non-empty string"),
        ("{long}", "has 300 characters"),
    ],
)
def test_a_call_that_does_not_fill_it_is_refused_in_words(template: str, says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        fill(template, {"order": object(), "empty": "", "long": "x" * 300})
