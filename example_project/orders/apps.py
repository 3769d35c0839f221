"""The Django app of the orders."""

from django.apps import AppConfig


class OrdersConfig(AppConfig):
    """Registers the models of this package."""

    name = "orders"
