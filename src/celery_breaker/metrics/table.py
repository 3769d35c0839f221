"""Every metric: its name, kind, labels and meaning. The names are API, see docs/observability.md."""

from __future__ import annotations

import enum
from dataclasses import dataclass

__all__ = ["METRICS", "Kind", "Metric"]


class Kind(str, enum.Enum):
    """What a metric is, in the words of Prometheus."""

    GAUGE = "gauge"
    COUNTER = "counter"
    HISTOGRAM = "histogram"

    __str__ = str.__str__


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One metric.

    Attributes:
        key: the name without prefix and suffix.
        seconds: it is a time in seconds; else a plain number.
        adds: of several breakers under one label, the sum is shown; else the greatest.
        buckets: upper bounds, of a histogram.
    """

    key: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()
    seconds: bool = False
    adds: bool = True
    buckets: tuple[float, ...] = ()

    @property
    def name(self) -> str:
        """The name as it is scraped.

        Example:
            >>> [metric.name for metric in (CALLS, RETRY_AFTER)]
            ['celery_breaker_calls_total', 'celery_breaker_retry_after_seconds']
        """
        return f"{self.stem}_total" if self.kind is Kind.COUNTER else self.stem

    @property
    def stem(self) -> str:
        """The name without the suffix of counters."""
        return f"celery_breaker_{self.key}" + ("_seconds" if self.seconds else "")


METRICS: list[Metric] = []
"""All of them, in the order of the documentation."""


def _of_all(key: str, text: str, *labels: str, seconds: bool = False, adds: bool = True) -> Metric:
    return _listed(Metric(key=key, kind=Kind.GAUGE, help=text, labels=labels, seconds=seconds, adds=adds))


def _counter(key: str, text: str, *labels: str) -> Metric:
    return _listed(Metric(key=key, kind=Kind.COUNTER, help=text, labels=labels))


def _times(key: str, text: str, *labels: str, buckets: tuple[float, ...]) -> Metric:
    return _listed(Metric(key=key, kind=Kind.HISTOGRAM, help=text, labels=labels, seconds=True, buckets=buckets))


def _listed(metric: Metric) -> Metric:
    METRICS.append(metric)
    return metric


# --- breakers, as the store has them; each process that is scraped gives the same -------------------------------------

STATE = _of_all("state", "1 for the state that the breaker is in, 0 for the others", "name", "state")
MODE = _of_all("mode", "1 for the mode in force, 0 for the others", "name", "mode")
TRIPS = _of_all("trips", "Open intervals in a row without recovery", "name", adds=False)
RETRY_AFTER = _of_all(
    "retry_after",
    "Time until a call may be admitted; absent while forced open without an end",
    "name",
    seconds=True,
    adds=False,
)

# --- only where the desk is: on the dashboard, or with a collector on a desk or a sampler -----------------------------

WINDOW_CALLS = _of_all("window_calls", "Calls in the present window, of all workers", "name")
WINDOW_FAILURES = _of_all("window_failures", "Failed calls in the present window, of all workers", "name")
WINDOW_SLOW = _of_all("window_slow_calls", "Slow calls in the present window, of all workers", "name")
PARKED = _of_all("parked", "Tasks in the parking queue; absent if the broker could not be asked", "name")
OLDEST_PARKED = _of_all(
    "oldest_parked",
    "For how long the task has waited that was parked first; absent if none is, or nobody can say",
    "name",
    seconds=True,
    adds=False,
)
WORKERS = _of_all("workers", "Workers that answered; absent where this broker cannot ask them")
CUT_OFF = _of_all("workers_cut_off", "Workers that answered and do not reach the store")

# --- of this process, and for workers of their own agent --------------------------------------------------------------

TENDED_AGE = _of_all(
    "agent_tended_age",
    "Time since an agent last finished a round; absent if none is known to have. Grows while there is nothing to tend",
    seconds=True,
)
VIEW_AGE = _of_all("view_age", "Time since this process last read the breakers' records", seconds=True)
CONNECTED = _of_all("store_connected", "1 if this process reaches the store, 0 if it goes on with breakers of its own")

CALLS = _counter("calls", "Calls that were admitted and ended, as far as this process counted them", "name")
FAILURES = _counter("failures", "Those of them that failed", "name")
SLOW = _counter("slow_calls", "Those of them that were slow", "name")
REFUSED = _counter("refused", "Calls that a Breaker in this process's code did not admit", "name")
PERMITS = _counter("permits", "Half-open permits that this process won", "name")
TRANSITIONS = _counter("transitions", "Changes of state that this process won, by the state entered", "name", "state")
DEFERRED = _counter("deferred", "Tasks that this process did not admit, by what became of them", "name", "action")
RELEASED = _counter("released", "Parked tasks that this process sent back to their queues", "name")
STORE_ERRORS = _counter("store_errors", "Operations on the store that failed", "operation")
ROUND_TRIP = _times(
    "store_round_trip",
    "Time that an operation on the store took, failed or not",
    "operation",
    buckets=(0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0),
)
BUS_DELAY = _times(
    "bus_delay",
    "Time from an announcement's sending to its arrival here, by the store's clock",
    buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0),
)
