"""The drawings are those that their script draws."""

from __future__ import annotations

import importlib.util
import sys
import xml.etree.ElementTree as ET
from types import ModuleType

import pytest

from tests.docs.pages import DOCS

FOLDER = DOCS / "diagrams"


@pytest.fixture(scope="module")
def draw() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_diagrams_draw", FOLDER / "draw.py")
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_each_is_as_drawn_and_none_is_left_over(draw: ModuleType) -> None:
    drawn = {name: make() for name, make in draw.DIAGRAMS.items()}
    assert {path.stem: path.read_text() for path in FOLDER.glob("*.svg")} == drawn, "run docs/diagrams/draw.py"


def test_each_is_sound_and_says_what_it_shows(draw: ModuleType) -> None:
    for make in draw.DIAGRAMS.values():
        root = ET.fromstring(make())
        assert root.find("{http://www.w3.org/2000/svg}title") is not None
        assert root.get("aria-label")
