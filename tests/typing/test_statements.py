"""What is said of types for the type checkers also runs: `BreakerTask[…]` is no more than a base class then."""

from __future__ import annotations

import importlib
import inspect
from pathlib import Path

import pytest
from celery import Celery

from celery_breaker import Breaker, BreakerTask

FILES = Path(__file__).parent.glob("*.py")
STATEMENTS = sorted(file.stem for file in FILES if not file.stem.startswith(("test_", "_")))


@pytest.mark.parametrize("name", STATEMENTS)
def test_statements_about_types_are_code_that_runs(name: str) -> None:
    assert inspect.ismodule(importlib.import_module(f"tests.typing.{name}"))


def test_a_base_that_says_a_signature_is_the_base_without() -> None:
    assert BreakerTask[[str], int] is BreakerTask


@pytest.mark.parametrize("base", [BreakerTask, BreakerTask[[str, int], bytes]])
def test_a_task_shows_the_signature_the_name_and_the_words_of_its_function(base: type[BreakerTask]) -> None:
    app = Celery("typing", broker="memory://")

    @app.task(base=base, breaker="smtp")
    def send(to: str, copies: int = 1) -> bytes:
        """Send it."""
        return to.encode() * copies

    assert str(inspect.signature(send)) == "(to: 'str', copies: 'int' = 1) -> 'bytes'"
    assert (send.__name__, send.__doc__, send.breaker) == ("send", "Send it.", "smtp")
    assert send("ann", copies=2) == b"annann"
    with pytest.raises(TypeError, match="missing 1 required"):
        send.delay()


def test_a_guarded_function_shows_the_signature_the_name_and_the_words_of_its_own() -> None:
    @Breaker("typing-shown", store="memory://")
    def send(to: str, copies: int = 1) -> bytes:
        """Send it."""
        return to.encode() * copies

    assert str(inspect.signature(send)) == "(to: 'str', copies: 'int' = 1) -> 'bytes'"
    assert (send.__name__, send.__doc__) == ("send", "Send it.")
