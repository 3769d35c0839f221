"""Docstrings as they are written here, told to Napoleon in the form that it reads, and taken back where it misreads."""

from __future__ import annotations

import re

from sphinx.application import Sphinx

_NAMES = re.compile(r"^(\s+\w+)((?:, \w+)+): ")
_TYPE = ":type: "
_VARIABLE = re.compile(r"~(?:[\w.]+\.)?~?([PR])\b")


def prepare(app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    """Join names that are explained together, which would else be taken for a type and a name."""
    lines[:] = [_NAMES.sub(lambda found: f"{found[1]}{found[2].replace(' ', '')}: ", line) for line in lines]


def mend(app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    """Put a first line together again that had a colon in it, and so was taken for "type: meaning"."""
    if what not in ("attribute", "data", "property"):
        return
    for place, line in enumerate(lines):
        if line.startswith(_TYPE):
            lines[0] = f"{line.removeprefix(_TYPE)}: {lines[0]}"
            del lines[place]
            return


def sign(
    app: Sphinx, what: str, name: str, obj: object, options: object, signature: str | None, returns: str | None
) -> tuple[str | None, str | None]:
    """Write what the parser of signatures cannot read as it can: defaults made by a factory, and type variables."""
    if signature is not None:
        signature = _VARIABLE.sub(r"\1", signature.replace("<factory>", "..."))
    return signature, returns


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx; Napoleon's priority is the usual 500."""
    app.connect("autodoc-process-docstring", prepare, priority=400)
    app.connect("autodoc-process-docstring", mend, priority=600)
    app.connect("autodoc-process-signature", sign)
    return {"parallel_read_safe": True}
