"""Migrations of the Django store's table."""
