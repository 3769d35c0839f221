"""The lines that the page on thresholds shows are lines that the command prints."""

from __future__ import annotations

import pytest
from celery import Celery
from celery.bin.base import CLIContext
from click.testing import CliRunner

from celery_breaker.plugin.cli import breaker
from tests.docs.pages import DOCS, marked

TRIED = marked((DOCS / "howto" / "simulate.md").read_text(), "try")


@pytest.mark.parametrize("name", TRIED)
def test_what_is_shown_is_printed(name: str) -> None:
    first, *shown = TRIED[name].splitlines()
    words = first.removeprefix("$ celery breaker ").split()
    context = CLIContext(app=Celery("shop", broker="memory://", set_as_current=False), no_color=False, workdir=None)
    printed = CliRunner().invoke(breaker, words, obj=context, catch_exceptions=False).stdout.splitlines()
    squeezed = {" ".join(line.split()) for line in printed}
    assert [line for line in shown if " ".join(line.split()) not in squeezed] == []
    assert shown


def test_the_page_is_read() -> None:
    assert len(TRIED) >= 8
