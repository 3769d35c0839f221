"""The Celery plugin: the only part that knows Celery."""
