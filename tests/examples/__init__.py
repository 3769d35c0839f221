"""The programs of docs/examples, run as they stand."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from celery import Celery, _state

from celery_breaker.plugin.app import breakers_of

FOLDER = Path(__file__).parent.parent.parent / "docs" / "examples"


def load(name: str) -> ModuleType:
    """The example of this name, imported afresh."""
    spec = importlib.util.spec_from_file_location(f"docs_examples_{name}", FOLDER / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@contextmanager
def current(app: Celery) -> Iterator[None]:
    """With this app as the current one, as it is in a process of its own; closed at the end."""
    before = _state._tls.current_app
    app.set_current()
    try:
        yield
    finally:
        breakers_of(app).forget()
        app.close()
        _state._tls.current_app = before
