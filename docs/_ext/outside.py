"""What leads out of docs/: links to files of the repository lead to pages, or nowhere; those to the web are listed."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath

from docutils import nodes
from sphinx.application import Sphinx

_LINK = re.compile(r"(?<!!)\[([^\]\n]*)\]\((\.\./[^)\s]+)\)")


def lead_in(app: Sphinx, docname: str, source: list[str]) -> None:
    """Point links to files above docs/ to the pages that show them; of one that no page shows, the words stay.

    A link to what does not exist is left as it is, and so is an error.
    """
    here = Path(app.srcdir, docname).parent
    up = "../" * (len(PurePosixPath(docname).parts) - 1)
    root = Path(app.srcdir).parent

    def page_of(link: re.Match[str]) -> str:
        words, target = link.groups()
        path, _, fragment = target.partition("#")
        file = (here / path).resolve()
        if file.is_relative_to(app.srcdir) or not file.is_relative_to(root) or not file.exists():
            return link[0]
        name = file.relative_to(root).as_posix()
        page = app.config.outside_pages.get(f"{name}#{fragment}", app.config.outside_pages.get(name))
        return words if page is None else f"[{words}]({up}{page})"

    source[0] = _LINK.sub(page_of, source[0])


class Links:
    """Every link to the web, for `build/docs/links.txt`; none is fetched."""

    def __init__(self) -> None:
        self.seen: set[tuple[str, str]] = set()

    def collect(self, app: Sphinx, doctree: nodes.document, docname: str) -> None:
        """Note those of one page."""
        uris = (str(node.get("refuri", "")) for node in doctree.findall(nodes.reference))
        self.seen |= {(uri, docname) for uri in uris if uri.startswith(("http://", "https://"))}

    def write(self, app: Sphinx, exception: Exception | None) -> None:
        """Write the list, a link and a page on each line."""
        lines = "".join(f"{uri} {docname}\n" for uri, docname in sorted(self.seen))
        Path(app.outdir, "links.txt").write_text(lines)


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx."""
    links = Links()
    app.add_config_value("outside_pages", {}, "env")
    app.connect("source-read", lead_in)
    app.connect("doctree-resolved", links.collect)
    app.connect("build-finished", links.write)
    return {"parallel_read_safe": False}
