"""``python -m tests.package.importing``: what ``import celery_breaker`` takes on top of Celery, in milliseconds.

Every figure is from a process of its own. The limit is held by the best of them, which a busy machine disturbs least.
"""

from __future__ import annotations

import statistics
import subprocess
import sys

LIMIT = 30.0
RUNS = 21

MEASURE = """
from time import process_time
began = process_time()
from celery import Celery, Task, shared_task
between = process_time()
import celery_breaker
print(between - began, process_time() - between)
"""


def main() -> int:
    """Measure and say; whether it is within the limit, as an exit code."""
    runs = [subprocess.check_output([sys.executable, "-c", MEASURE], text=True).split() for _ in range(RUNS)]
    celery, ours = ([float(run[place]) * 1000 for run in runs] for place in (0, 1))
    print(  # noqa: T201
        f"import celery_breaker: median {statistics.median(ours):.1f} ms, best {min(ours):.1f} ms of {RUNS} processes, "
        f"on top of Celery's {statistics.median(celery):.0f} ms; the limit is {LIMIT:.0f} ms"
    )
    return min(ours) > LIMIT


if __name__ == "__main__":
    sys.exit(main())
