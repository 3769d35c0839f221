"""``celery breaker``: see and steer breakers from the command line."""

import click


@click.group()
def breaker() -> None:
    """Circuit breakers."""
