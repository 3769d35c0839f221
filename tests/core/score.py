"""The score of `make mutants`, and whether it is enough."""

from __future__ import annotations

import json
import sys
from pathlib import Path

STATS = Path("mutants/mutmut-cicd-stats.json")
ENOUGH = 95.0
"""Percent."""


def main() -> int:
    stats = json.loads(STATS.read_text())
    noticed = stats["killed"] + stats["timeout"]
    score = 100 * noticed / stats["total"]
    print(f"{noticed} of {stats['total']} mutants were noticed: {score:.1f} %")  # noqa: T201
    return 0 if score >= ENOUGH else 1


if __name__ == "__main__":
    sys.exit(main())
