"""Reading the pages: their fences, headings, tables and links, as text."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
DOCS = ROOT / "docs"

_FENCE = re.compile(
    r"^(?P<indent> *)(?P<ticks>```+)(?P<info>[^\n`]*)\n(?P<body>.*?)^ *(?P=ticks) *$\n?", re.MULTILINE | re.DOTALL
)
_MARK = re.compile(r"<!-- (\w+): (\S+) -->\s*$")


@dataclass(frozen=True, slots=True)
class Fence:
    """A fenced block: what it is said to be in, its text, the line it begins at, and the mark before it, if any."""

    language: str
    text: str
    line: int
    mark: tuple[str, str] | None


def pages() -> list[Path]:
    """Every page of the site."""
    left_out = {"examples", "_build"}
    return sorted(page for page in DOCS.rglob("*.md") if not left_out & set(page.relative_to(DOCS).parts))


def fences(text: str) -> Iterator[Fence]:
    """The fenced blocks, in order."""
    for found in _FENCE.finditer(text):
        before = _MARK.search(text, 0, found.start())
        mark = (before[1], before[2]) if before is not None and before.end() == found.start() else None
        line = text.count("\n", 0, found.start()) + 1
        yield Fence(
            found["info"].strip(), textwrap.dedent(found["body"]) if found["indent"] else found["body"], line, mark
        )


def prose(text: str) -> str:
    """The page without its fences."""
    return _FENCE.sub("", text)


def marked(text: str, kind: str) -> dict[str, str]:
    """Blocks that a comment before them marks, `<!-- kind: name -->`, by name."""
    return {fence.mark[1]: fence.text for fence in fences(text) if fence.mark and fence.mark[0] == kind}


def commands(text: str) -> list[str]:
    """What a console block asks to be typed; a backslash at the end goes on in the next line."""
    joined = text.replace("\\\n", " ")
    return [line.removeprefix("$ ") for line in joined.splitlines() if line.startswith("$ ")]


def table(text: str, heading: str) -> list[list[str]]:
    """The rows of the first table after a heading or any other line, as cells."""
    below = text.split(f"{heading}\n", 1)[1]
    found = re.search(r"(?:^\|.*\n)+", below, re.MULTILINE)
    assert found is not None, f"no table after {heading!r}"
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in found[0].splitlines()[2:]]


def ticked(text: str) -> list[str]:
    """What is between backticks."""
    return re.findall(r"`([^`]+)`", text)
