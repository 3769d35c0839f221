from __future__ import annotations

from tests.plugin.lines import line, make_line

__all__ = ["line", "make_line"]
