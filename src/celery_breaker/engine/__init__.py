"""The engine: breakers for any Python code, with or without Celery."""
