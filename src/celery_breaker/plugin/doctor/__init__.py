"""``celery breaker doctor``: facts are gathered, then judged by pure checks."""
