"""What docs/explanation/architecture.md says of the source is so."""

from __future__ import annotations

import re
import statistics
from fnmatch import fnmatchcase
from typing import Any

from tests.docs.pages import DOCS, ROOT, fences, prose, table, ticked

try:
    import tomllib
except ImportError:  # Python 3.10
    import tomli as tomllib

PACKAGE = ROOT / "src" / "celery_breaker"
PAGE = (DOCS / "explanation" / "architecture.md").read_text()
CONTRACTS: dict[str, dict[str, Any]] = {
    contract["id"]: contract
    for contract in tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
}


def rooms() -> set[str]:
    """Folders and modules of the package, but for its front door."""
    folders = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    return folders | {path.stem for path in PACKAGE.glob("*.py") if path.stem != "__init__"}


def named(text: str) -> set[str]:
    """The names in a layer of the import contract."""
    return set(re.findall(r"\w+", text))


def test_every_room_is_named_and_no_other() -> None:
    told = [name for row in table(PAGE, "## Rooms") for name in ticked(row[0])]
    assert sorted(told) == sorted(rooms())


def test_the_layers_are_those_of_the_import_contract() -> None:
    (drawing,) = [fence.text for fence in fences(PAGE) if fence.language == "text"]
    told = [named(line) for line in drawing.splitlines()]
    assert told == [named(layer) for layer in CONTRACTS["direction"]["layers"]]
    assert set().union(*told) == rooms()


def test_all_of_the_plugin_is_named_in_the_order_of_its_own_layers() -> None:
    told = [name for row in table(PAGE, "## Inside the plugin") for name in ticked(row[0])]
    layers = [named(layer) for layer in CONTRACTS["inside-the-plugin"]["layers"]]
    place = {name: next(at for at, layer in enumerate(layers) if name in layer) for name in told}
    assert sorted(told) == sorted(set().union(*layers))
    assert [place[name] for name in told] == sorted(place.values())


def test_each_driver_is_where_the_import_contract_lets_it_be() -> None:
    told = {
        (driver, place) for row in table(PAGE, "## Drivers") for driver in ticked(row[0]) for place in ticked(row[1])
    }
    allowed = {
        (driver, importer.removeprefix("celery_breaker.").removesuffix(".**"))
        for importer, driver in (line.split(" -> ") for line in CONTRACTS["one-driver-one-file"]["ignore_imports"])
    }
    assert told == allowed


def test_every_file_that_is_pointed_to_exists() -> None:
    files = [name for name in ticked(prose(PAGE)) if name.endswith(".py")]
    assert len(files) > 30
    assert [name for name in files if not (PACKAGE / name).exists()] == []


def test_every_thread_is_named() -> None:
    told = {name for row in table(PAGE, "## Threads") for name in ticked(row[0])}
    sources = "".join(path.read_text() for path in PACKAGE.rglob("*.py"))
    assert told == set(re.findall(r'name="celery-breaker-([\w-]+)"', sources))


def test_sizes_are_as_said_and_a_long_file_has_its_reason() -> None:
    lengths = {
        path.relative_to(PACKAGE).as_posix(): len(path.read_text().splitlines()) for path in PACKAGE.rglob("*.py")
    }
    assert statistics.median(lengths.values()) <= 130
    excused = {name for row in table(PAGE, "## Sizes") for name in ticked(row[0])}
    assert {name for name, length in lengths.items() if length > 400} == excused, (
        "a file above 400 lines is a question: part it, or give its reason on the page"
    )


def test_every_module_says_in_its_first_line_what_it_is_for() -> None:
    silent = [
        path.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.rglob("*.py")
        if not path.read_text().startswith('"""') and not fnmatchcase(path.name, "__init__.py")
    ]
    assert silent == []
