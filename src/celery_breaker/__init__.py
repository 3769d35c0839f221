"""Circuit breakers for Celery: workers ride out the failure of what their tasks depend on."""

from celery_breaker.core.policy import Policy
from celery_breaker.core.record import Mode, State
from celery_breaker.engine.breaker import Breaker
from celery_breaker.errors import BreakerError, BreakerOpen, ConfigurationError, RetryBudgetSpent, StoreError
from celery_breaker.plugin.task import BreakerTask

__all__ = [
    "Breaker",
    "BreakerError",
    "BreakerOpen",
    "BreakerTask",
    "ConfigurationError",
    "Mode",
    "Policy",
    "RetryBudgetSpent",
    "State",
    "StoreError",
]

__version__ = "0.1.0"
