"""Writes `tests/oldest.txt`, the oldest version of each dependency that `pyproject.toml` allows.

    python -m tests.support.oldest > tests/oldest.txt

It constrains `tox -e oldest`; a test says when it is out of date.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from packaging.requirements import Requirement

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # pytest brings it

PYPROJECT = Path(__file__).parent.parent.parent / "pyproject.toml"


def oldest() -> list[str]:
    """``name==version`` for everything that the package, or one of its extras, requires."""
    project = tomllib.loads(PYPROJECT.read_text())["project"]
    extras = [requirement for required in project["optional-dependencies"].values() for requirement in required]
    return sorted(set(_pins([*project["dependencies"], *extras])))


def _pins(requirements: list[str]) -> Iterator[str]:
    for requirement in map(Requirement, requirements):
        (bound,) = (each.version for each in requirement.specifier if each.operator == ">=")
        yield f"{requirement.name}=={bound}"


if __name__ == "__main__":
    print("# Written by `python -m tests.support.oldest`.", *oldest(), sep="\n")  # noqa: T201
