"""The programs of docs/examples, run as they stand."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

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
