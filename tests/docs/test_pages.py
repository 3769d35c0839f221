"""Every page: one heading of the first rank, found from the front page, with examples and commands that work."""

from __future__ import annotations

import ast
import doctest
import re
import shlex
from pathlib import Path

import click
import pytest
import yaml

from celery_breaker.plugin.cli import breaker
from tests.docs.pages import DOCS, ROOT, commands, fences, pages, prose

EVERY_PAGE = pytest.mark.parametrize("page", pages(), ids=lambda page: page.relative_to(DOCS).as_posix())

_INCLUDED = re.compile(r"^(?:```|:::)\{include\} (\S+)\n((?::.*\n)*)", re.MULTILINE)


def whole(page: Path) -> str:
    """The page with what it includes as a whole; parts of files bring no heading of the first rank."""
    return _INCLUDED.sub(
        lambda found: "" if "start-after" in found[2] else "\n```\n" + (page.parent / found[1]).read_text() + "\n```\n",
        page.read_text(),
    )


def toctree(page: Path) -> set[Path]:
    """The pages that a page's own toctrees lead to."""
    found: set[Path] = set()
    for fence in fences(page.read_text()):
        if fence.language == "{toctree}":
            for line in fence.text.splitlines():
                if line.strip() and not line.startswith(":"):
                    name = re.sub(r".*<(.+)>", r"\1", line.strip())  # with a title of its own
                    found |= set(page.parent.glob(f"{name}.md"))
    return found


@EVERY_PAGE
def test_it_has_one_heading_of_the_first_rank_and_begins_with_it(page: Path) -> None:
    text = prose(whole(page).replace("\n```\n# ", "\n# ")) if _INCLUDED.search(page.read_text()) else page.read_text()
    headings = re.findall(r"^# .+$", prose(text), re.MULTILINE)
    assert len(headings) == 1
    assert text.strip().startswith(headings[0])


def test_each_can_be_found_from_the_front_page() -> None:
    found, ahead = {DOCS / "index.md"}, [DOCS / "index.md"]
    while ahead:
        further = toctree(ahead.pop()) - found
        found |= further
        ahead += further
    assert set(pages()) - found == set()


@pytest.mark.parametrize("page", [*pages(), ROOT / "README.md"], ids=lambda page: page.name)
def test_its_python_can_be_read(page: Path) -> None:
    for fence in fences(page.read_text()):
        if fence.language == "python" and ">>>" not in fence.text:
            ast.parse(fence.text)


@EVERY_PAGE
def test_its_yaml_can_be_read(page: Path) -> None:
    for fence in fences(page.read_text()):
        if fence.language == "yaml":
            yaml.safe_load(fence.text)


@EVERY_PAGE
def test_its_sessions_are_true(page: Path) -> None:
    text = "\n".join(fence.text for fence in fences(page.read_text()) if ">>>" in fence.text)
    session = doctest.DocTestParser().get_doctest(text, {}, page.name, str(page), 0)
    assert doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(session).failed == 0


@EVERY_PAGE
def test_what_it_quotes_of_an_example_is_in_the_example(page: Path) -> None:
    for fence in fences(page.read_text()):
        if fence.mark and fence.mark[0] == "from":
            assert fence.text in (DOCS / "examples" / fence.mark[1]).read_text(), fence.line


# --- commands ---------------------------------------------------------------------------------------------------------

_OURS = re.compile(r"(?:\bcelery(?: -A \S+)?|manage\.py) breaker (?P<rest>[^#|>)]*)")


def wrong_in(line: str) -> str:
    """What a line asks of ``celery breaker`` that it has not; empty if all is well."""
    for found in _OURS.finditer(line):
        words = shlex.split(found["rest"].replace("…", "").split(" && ")[0].split(" || ")[0])
        if words[:1] == ["-A"]:
            words = words[2:]
        if not words or words[0].isupper() or words[0].startswith("-"):
            continue
        command = breaker.commands.get(words[0])
        if command is None:
            return f"no command {words[0]!r}"
        known = {name for option in command.params if isinstance(option, click.Option) for name in option.opts}
        for word in words[1:]:
            flag = word.split("=")[0]
            if flag.startswith("--") and flag not in known | {"--help"}:
                return f"no option {flag!r} of {words[0]!r}"
            if re.fullmatch(r"-[a-z]", flag) and flag not in known:
                return f"no option {flag!r} of {words[0]!r}"
    return ""


@pytest.mark.parametrize("page", [*pages(), ROOT / "README.md"], ids=lambda page: page.name)
def test_the_commands_it_shows_exist_with_their_options(page: Path) -> None:
    text = page.read_text()
    shown = [line for fence in fences(text) if fence.language in ("console", "sh") for line in commands(fence.text)]
    shown += [line for fence in fences(text) if fence.language in ("sh", "yaml") for line in fence.text.splitlines()]
    shown += re.findall(r"`((?:celery|python manage\.py)[^`\n]* breaker [^`\n]+)`", prose(text))
    assert [f"{line}: {wrong}" for line in shown if (wrong := wrong_in(line))] == []


def test_a_command_that_does_not_exist_is_found() -> None:
    assert wrong_in("celery -A proj breaker opn smtp") == "no command 'opn'"
    assert wrong_in("celery -A proj breaker open smtp --because x") == "no option '--because' of 'open'"
    assert wrong_in("python manage.py breaker list -x") == "no option '-x' of 'list'"
    assert wrong_in("celery -A proj breaker open smtp --reason x && celery -A proj worker") == ""


# --- outside of docs/ -------------------------------------------------------------------------------------------------


def anchor(heading: str) -> str:
    """What code hosts make of a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize(
    "name",
    [
        "README.md",
        "CHANGELOG.md",
        "CONTRIBUTING.md",
        "docs/index.md",
        *(f"docs/{page.name}" for page in DOCS.glob("*.md")),
    ],
)
def test_its_links_to_files_lead_somewhere_on_a_code_host_too(name: str) -> None:
    """Sphinx reads the pages of docs/ and says more; it does not read these, or not as a code host does."""
    page = ROOT / name
    for link in re.findall(r"\]\(([^)\s]+)\)", prose(page.read_text())):
        if link.startswith(("http://", "https://")):
            continue
        path, _, fragment = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        if fragment:
            headings = re.findall(r"^#+ (.+)$", prose(target.read_text()), re.MULTILINE)
            assert fragment in map(anchor, headings), link
