"""What docs/explanation/architecture.md says of the source is so."""

from __future__ import annotations

import ast
import re
import statistics
from collections.abc import Iterator
from pathlib import Path
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


def sources() -> Iterator[tuple[str, Path]]:
    """Every module of the package, with its room."""
    for path in sorted(PACKAGE.rglob("*.py")):
        place = path.relative_to(PACKAGE)
        yield place.parts[0].removesuffix(".py"), path


def imported(path: Path) -> set[str]:
    """The rooms that a module imports from, wherever in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module == "celery_breaker":
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("celery_breaker."):
            found.add(str(node.module).split(".")[1])
    return found


def named(text: str) -> set[str]:
    """The names in a layer of the import contract."""
    return set(re.findall(r"\w+", text))


def test_every_room_is_named_and_no_other() -> None:
    told = [name for row in table(PAGE, "## Rooms") for name in ticked(row[0])]
    assert sorted(told) == sorted(rooms())


def test_each_room_imports_what_is_said_and_no_other() -> None:
    told = {ticked(row[0])[0]: sorted(ticked(row[2])) for row in table(PAGE, "## Rooms")}
    found: dict[str, set[str]] = {room: set() for room in rooms()}
    for room, path in sources():
        if room != "__init__":
            found[room] |= imported(path) - {room}
    assert told == {room: sorted(names) for room, names in found.items()}


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


def threads() -> Iterator[str]:
    """The names of all threads that the package starts, but for those of its contract, which runs within a test."""
    for room, path in sources():
        for node in ast.walk(ast.parse(path.read_text())):
            if room == "testing" or not isinstance(node, ast.Call):
                continue
            kind = ast.unparse(node.func).rpartition(".")[2]
            if kind in ("Thread", "Background", "ThreadPoolExecutor"):
                names = {word.arg: ast.unparse(word.value) for word in node.keywords}
                yield names.get("name") or names.get("thread_name_prefix") or f"{path.name}:{node.lineno} has none"


def test_every_thread_is_named() -> None:
    told = {f"celery-breaker-{name}" for row in table(PAGE, "## Threads") for name in ticked(row[0])}
    assert told == {name.strip("'") for name in threads() if name != "self._name"}  # `Background` is given one


def test_sizes_are_as_said_and_a_long_file_has_its_reason() -> None:
    lengths = {
        path.relative_to(PACKAGE).as_posix(): len(path.read_text().splitlines()) for path in PACKAGE.rglob("*.py")
    }
    assert statistics.median(lengths.values()) <= 130
    excused = {name for row in table(PAGE, "## Sizes") for name in ticked(row[0])}
    assert {name for name, length in lengths.items() if length > 400} == excused, (
        "a file above 400 lines is a question: part it, or give its reason on the page"
    )


def test_no_function_is_longer_than_said() -> None:
    (most,) = map(int, re.findall(r"a function has no more\s+than (\d+)", PAGE))
    long = [
        f"{path.relative_to(PACKAGE)}: {node.name}"
        for _, path in sources()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        if (node.end_lineno or 0) - node.lineno >= most
    ]
    assert long == []


def test_every_module_says_in_its_first_line_what_it_is_for() -> None:
    silent = [
        path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py") if not path.read_text().startswith('"""')
    ]
    assert silent == []
