"""Makes the table of the Django store."""

from __future__ import annotations

from typing import Any, ClassVar

from django.db import migrations, models


def compare_bytes_on_mysql(apps: Any, schema_editor: Any) -> None:
    """Take any character, and no two for the same, whatever the database was set up with (MariaDB: latin1)."""
    if schema_editor.connection.vendor == "mysql":
        schema_editor.execute(
            "ALTER TABLE celery_breaker_storedvalue CONVERT TO CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"
        )


class Migration(migrations.Migration):  # type: ignore[misc]  # Django has no types
    """Forward it makes the table, back it drops it."""

    initial = True
    dependencies: ClassVar[list[tuple[str, str]]] = []
    operations: ClassVar[list[Any]] = [
        migrations.CreateModel(
            name="StoredValue",
            fields=[
                (
                    "id",
                    models.CharField(
                        max_length=64,
                        primary_key=True,
                        serialize=False,
                        help_text="SHA-256 of prefix, kind and name.",
                    ),
                ),
                ("prefix", models.CharField(max_length=200, help_text="The setting breaker_store_prefix.")),
                (
                    "kind",
                    models.CharField(max_length=16, help_text="A record, a window, a lease, or a book of a journal."),
                ),
                ("name", models.TextField(help_text="Of the breaker, or of the lease.")),
                ("body", models.TextField()),
                ("token", models.BigIntegerField(help_text="Changes with each write.")),
                ("expires", models.FloatField(null=True, help_text="Seconds since 1970, by the database's clock.")),
            ],
            options={
                "verbose_name": "stored value",
                "db_table": "celery_breaker_storedvalue",
                "indexes": [
                    models.Index(fields=["prefix", "kind"], name="celery_breaker_by_kind"),
                    models.Index(fields=["expires"], name="celery_breaker_by_expiry"),
                ],
            },
        ),
        # Django refuses to alter a table within a transaction that could not take it back.
        migrations.RunPython(compare_bytes_on_mysql, migrations.RunPython.noop, atomic=False),
    ]
