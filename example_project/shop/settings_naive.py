"""The same shop without celery-breaker, to compare: `DJANGO_SETTINGS_MODULE=shop.settings_naive`."""

from shop.settings import *  # noqa: F403 - the idiom for a variant of Django settings

SHOP_TASKS = "tasks_naive"
CELERY_BREAKERS = {}
