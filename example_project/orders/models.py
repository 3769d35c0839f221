"""What the shop remembers of an order."""

from __future__ import annotations

from django.db import models


class Order(models.Model):
    """One purchase, from the click to the confirmation mail."""

    class Status(models.TextChoices):
        """How far an order has come."""

        PLACED = "placed"
        PAID = "paid"
        CONFIRMED = "confirmed"

    email = models.EmailField()
    item = models.CharField(max_length=100)
    amount_cents = models.PositiveIntegerField()
    status = models.CharField(max_length=10, choices=Status.choices, default=Status.PLACED)
    placed_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        """Short, for logs and the shell."""
        return f"order {self.pk}: {self.item} for {self.email}"

    def advance(self, status: Status) -> None:
        """Move to `status` in one UPDATE."""
        Order.objects.filter(pk=self.pk).update(status=status)
