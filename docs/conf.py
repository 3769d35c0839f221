"""How Sphinx builds these pages: `make docs`. Every reference must resolve; each exception says why."""

from __future__ import annotations

import sys
from importlib import metadata
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

project = "celery-breaker"
author = "The celery-breaker contributors"
project_copyright = author
release = version = metadata.version("celery-breaker")

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "docstrings",
    "outside",
]
exclude_patterns = ["examples/README.md", "_build"]
nitpicky = True
default_role = "any"

html_theme = "furo"
html_title = f"celery-breaker {version}"
html_copy_source = False
html_extra_path = ["alerts.yml", "grafana.json"]

# The same pages are read on a code host: headings are link targets there too, and fences are fences.
myst_heading_anchors = 3
myst_enable_extensions = ["colon_fence", "deflist"]

autosummary_generate = False  # the tables only; each page says itself what it documents
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 100
napoleon_google_docstring = True
napoleon_use_ivar = True
napoleon_use_rtype = False
napoleon_attr_annotations = False  # types are in the signature; as text, it splits them at their commas

linkcheck_ignore = [
    r"http://(localhost|127\.0\.0\.1)[:/].*",  # what the reader has started
    r"https?://([^/]*\.)?example(\.org|\.com)?([:/].*)?$",  # names that stand for the reader's
]

# Files outside of docs/ that pages link to, for who reads them on a code host: the page that shows each here.
outside_pages = {
    "README.md#options-of-a-breaker": "reference/options.md#options-of-a-breaker",
    "README.md#use-it": "index.md",
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
}

nitpick_ignore_regex = [
    # No inventory of another project is fetched, so names of theirs have nothing to point to.
    (r"py:.*", r"(celery|kombu|starlette|prometheus_client|opentelemetry|pytest|hypothesis)\..*"),
    (r"py:.*", r"(collections|pathlib|types|concurrent|enum|datetime|contextlib|threading|logging)\..*"),
    (r"py:class", r"Celery|BaseRoute|Starlette|MeterProvider"),
    # Type variables say that what goes in comes out.
    (r"py:class", r"(celery_breaker\..*\.)?[PRT](\.(kw)?args)?"),
    # The engine's own: a desk is made of them, and nobody has to touch them.
    (r"py:class", r"celery_breaker\.engine\.(registry\.Registry|view\.Cell)"),
]
