"""Reads pages as a browser would: their elements, and what a person sees of them."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from html.parser import HTMLParser

from starlette.testclient import TestClient

from tests.web.desks import Room, client_of, room

HTML = {"accept": "text/html"}
EVIL = '<script>alert("x")</script>&\'"'


@dataclass
class Element:
    tag: str
    attributes: dict[str, str]
    text: str = ""


@dataclass
class Page(HTMLParser):
    """The elements of a document, in order; `text` is what is read."""

    html: str
    elements: list[Element] = field(default_factory=list)
    text: str = ""

    def __post_init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self._open: list[Element] = []
        self.feed(self.html)
        self.text = re.sub(r"\s+", " ", self.text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        element = Element(tag, {name: value or "" for name, value in attributes})
        self.elements.append(element)
        if tag not in ("meta", "link", "input"):
            self._open.append(element)

    def handle_endtag(self, tag: str) -> None:
        while any(element.tag == tag for element in self._open):
            if self._open.pop().tag == tag:
                return

    def handle_data(self, data: str) -> None:
        self.text += data
        for element in self._open:
            element.text += data

    def all(self, tag: str, **attributes: str) -> list[Element]:
        """Elements with this tag and these attributes; `_` in a name stands for a hyphen, at its end for nothing."""
        wanted = {name.rstrip("_").replace("_", "-"): value for name, value in attributes.items()}
        return [e for e in self.elements if e.tag == tag and wanted.items() <= e.attributes.items()]

    def one(self, tag: str, **attributes: str) -> Element:
        """The only one."""
        [element] = self.all(tag, **attributes)
        return element

    @property
    def rows(self) -> list[str]:
        """The breakers of the overview."""
        return [row.attributes["data-name"] for row in self.all("tr") if "data-name" in row.attributes]

    def row(self, name: str) -> str:
        """What the row of a breaker says."""
        return re.sub(r"\s+", " ", self.one("tr", data_name=name).text)


def open_room(**options: object) -> tuple[Room, TestClient]:
    """A dashboard, and a client of its pages."""
    found = room(**options)
    found.sampler.look_soon = found.sampler.look  # type: ignore[method-assign]
    prefix = str(options.get("url_prefix", ""))
    return found, client_of(found.app, base_url=f"http://localhost:5556{prefix}", headers=HTML)


def load(client: TestClient, address: str, status: int = 200) -> Page:
    """A page."""
    response = client.get(address)
    assert response.status_code == status, response.text
    return Page(response.text)
