"""For tests of those who use or extend celery-breaker: `contract` is what every store must do."""
