"""The other side of `tests.integration.guarded`: a service that a test takes down and brings back."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest


@dataclass(frozen=True)
class Call:
    """One call that reached the service. ``words`` is what the task added."""

    at: float
    up: bool
    words: tuple[str, ...]


class Service:
    """A service in a folder; `folder` is what its tasks are given."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.folder = str(folder)
        self._folder = folder

    def go_down(self, *, hang: bool = False) -> None:
        if hang:
            (self._folder / "hang").touch()
        (self._folder / "down").touch()

    def come_back(self) -> None:
        (self._folder / "down").unlink()

    def _lines(self, name: str) -> list[list[str]]:
        file = self._folder / name
        return [line.split() for line in file.read_text().splitlines()] if file.exists() else []

    def calls(self) -> list[Call]:
        return [Call(float(at), state == "up", tuple(words)) for at, state, *words in self._lines("calls")]

    def served(self) -> list[int]:
        """The number of each call that succeeded, in order."""
        return [int(call.words[0]) for call in self.calls() if call.up]

    def refused(self) -> list[Call]:
        """Calls that met the dead service."""
        return [call for call in self.calls() if not call.up]

    def noted(self, name: str) -> list[list[str]]:
        """What tasks and checks noted under another name."""
        return self._lines(name)


@pytest.fixture
def service(tmp_path: Path) -> Service:
    return Service(tmp_path / "service")
