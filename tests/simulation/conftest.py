from __future__ import annotations

from tests.support import properties
from tests.support.guards import no_sleep

__all__ = ["no_sleep", "properties"]
