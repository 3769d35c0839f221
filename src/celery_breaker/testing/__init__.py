"""For the tests of those who use celery-breaker: breakers in memory, a clock that one turns, and forced states.

Needs neither pytest nor Hypothesis. With pytest there is a fixture, ``breakers``. What every store must do is in
`celery_breaker.testing.contract`, for those who write one.
"""

from __future__ import annotations

from celery_breaker.clock import ManualClock
from celery_breaker.stores.memory import MemoryStore
from celery_breaker.testing.breakers import Breakers
from celery_breaker.testing.deferred import Deferred
from celery_breaker.testing.setup import Forced, attached, forced, in_memory

__all__ = ["Breakers", "Deferred", "Forced", "ManualClock", "MemoryStore", "attached", "forced", "in_memory"]
