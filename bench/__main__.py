"""`python -m bench [numbers…] [--quick] [--out docs]`: measure, print the table as it grows, and write it down."""

from __future__ import annotations

import argparse
import importlib
import logging
import pkgutil
import sys
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import bench
from bench import report
from bench.rows import Row
from bench.table import Printed

DOCS = Path(__file__).resolve().parent.parent / "docs"
LAST = 15


def numbered() -> dict[int, str]:
    """The modules by the number of their first row: ``bench.b06_…`` measures 6 and what comes before the next's."""
    names = sorted(info.name for info in pkgutil.iter_modules(bench.__path__))
    return {int(name[1:3]): f"bench.{name}" for name in names if name[0] == "b" and name[1:3].isdigit()}


def wanted(numbers: Sequence[int]) -> dict[int, str]:
    """The modules that measure these rows; all of them for none."""
    modules = numbered()
    firsts = {max(first for first in modules if first <= number) for number in numbers or modules}
    return {first: modules[first] for first in sorted(firsts)}


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m bench", description="Every figure of docs/benchmarks.md.")
    parser.add_argument("numbers", nargs="*", type=int, help="only these rows; they are printed and not written")
    parser.add_argument("--quick", action="store_true", help="a look at the machinery: small, and written nowhere")
    parser.add_argument("--out", type=Path, metavar="DIR", help="write the page and the plots here in any case")
    options = parser.parse_args(arguments)
    if unknown := set(options.numbers) - set(range(1, LAST + 1)):
        parser.error(f"there is no row {min(unknown)}; they are 1 to {LAST}")
    if options.out is None and not options.quick and not options.numbers:
        options.out = DOCS
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """Run; 1 if a bar was not met or a row could not be measured."""
    options = parse(arguments)
    logging.basicConfig(level=logging.ERROR)
    printed, started = Printed(), time.monotonic()
    chosen = wanted(options.numbers)
    rows: list[Row] = []
    modules: dict[int, ModuleType] = {}
    for number, name in chosen.items():
        found = measured(number, name, quick=options.quick)
        printed.show(found)
        rows += found
        if name in sys.modules:  # not if its import failed
            modules[number] = sys.modules[name]
        if options.out is not None:  # each time: what a run of half an hour found is not lost with its end
            minutes = (time.monotonic() - started) / 60
            written(options.out, rows, modules, minutes)
    if options.out is not None:
        printed.say(f"written: {options.out}")
    return int(any(row.met is False for row in rows))


def measured(number: int, name: str, *, quick: bool) -> list[Row]:
    """The rows of one module; one that fails is a row that is not met, and the others go on."""
    try:
        rows: list[Row] = importlib.import_module(name).rows(quick)
    except Exception as exc:
        traceback.print_exc()
        note = f"{type(exc).__name__}: {exc}".splitlines()[0]
        return [Row(number=number, what=name, figure="failed", bar="", met=False, note=note)]
    return rows


def written(folder: Path, rows: Sequence[Row], modules: dict[int, ModuleType], minutes: float) -> Path:
    """Draw and write; returns the page."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("bench-*.svg"):
        old.unlink()
    for module in modules.values():
        if hasattr(module, "plot"):
            module.plot(folder)
    measures = {number: getattr(module, "MEASURES", module.__doc__ or "") for number, module in modules.items()}
    return report.write(folder, rows, measures, sorted(folder.glob("bench-*.svg")), minutes)


if __name__ == "__main__":
    sys.exit(main())
