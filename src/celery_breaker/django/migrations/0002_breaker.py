"""Gives the admin's breakers a content type and permissions; makes no table."""

from __future__ import annotations

from typing import Any, ClassVar

from django.db import migrations, models


class Migration(migrations.Migration):  # type: ignore[misc]  # Django has no types
    """Back, the model is gone; Django leaves its permissions, which nobody asks for any more."""

    dependencies: ClassVar[list[tuple[str, str]]] = [("celery_breaker", "0001_initial")]
    operations: ClassVar[list[Any]] = [
        migrations.CreateModel(
            name="Breaker",
            fields=[("name", models.TextField(primary_key=True, serialize=False))],
            options={
                "managed": False,
                "default_permissions": ("view",),
                "permissions": (
                    ("steer_breaker", "Can open, close, reset, disable and observe breakers"),
                    ("release_breaker", "Can release tasks that a breaker parked"),
                    ("purge_breaker", "Can delete tasks that a breaker parked"),
                ),
            },
        ),
    ]
