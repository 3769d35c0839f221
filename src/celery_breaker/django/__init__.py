"""A Django app that keeps breakers in a table of the project's database; `celery_breaker.stores.django` uses it."""
