"""The shop: a small Django project whose mails and charges wait out an outage."""

from shop.celery import app as celery_app

__all__ = ["celery_app"]
