"""The table of the Django store, as a model to look at; the store itself writes it with statements of its own."""

from __future__ import annotations

from typing import Any, NoReturn

from django.db import models

__all__ = ["StoredValue"]


class StoredValue(models.Model):  # type: ignore[misc]  # Django has no types
    """A value that the store keeps: the record of a breaker, its window, or a lease.

    To be read only; `save` and `delete` raise, since a value changed behind the store's back is lost or overwritten.
    Two releases of this package may share the table: a column that is added must have a default in the database, or
    may be null, and none that a former release writes may be taken away.
    """

    id = models.CharField(max_length=64, primary_key=True, help_text="SHA-256 of prefix, kind and name.")
    prefix = models.CharField(max_length=200, help_text="The setting breaker_store_prefix.")
    kind = models.CharField(max_length=16, help_text="A record, a window, a lease, or a book of a journal.")
    name = models.TextField(help_text="Of the breaker, or of the lease.")
    body = models.TextField()
    token = models.BigIntegerField(help_text="Changes with each write.")
    expires = models.FloatField(null=True, help_text="Seconds since 1970, by the database's clock.")

    class Meta:
        """Lookups by prefix and kind list breakers; those by expiry clear up."""

        db_table = "celery_breaker_storedvalue"
        indexes = (
            models.Index(fields=["prefix", "kind"], name="celery_breaker_by_kind"),
            models.Index(fields=["expires"], name="celery_breaker_by_expiry"),
        )
        verbose_name = "stored value"

    def __str__(self) -> str:
        return f"{self.kind} of {self.name}"

    def save(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Raises `TypeError`."""
        raise TypeError("values of celery-breaker are read-only; use `celery breaker` to change a breaker")

    def delete(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Raises `TypeError`."""
        raise TypeError("values of celery-breaker are read-only; use `celery breaker reset` to begin a breaker anew")
