"""What a scrape says, read by the official parsers."""

from __future__ import annotations

from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.parser import text_string_to_metric_families

__all__ = ["Scrape", "parsed"]

Key = tuple[str, frozenset[tuple[str, str]]]


class Scrape:
    """Values by metric and labels: ``scrape("celery_breaker_state", name="smtp", state="open")``."""

    def __init__(self, values: dict[Key, float], types: dict[str, str]) -> None:
        self.values = values
        self.types = types

    def __call__(self, metric: str, **labels: str) -> float | None:
        return self.values.get((metric, frozenset(labels.items())))

    def names(self) -> set[str]:
        """The breakers that have a label of their own."""
        return {value for _, labels in self.values for key, value in labels if key == "name"}


def parsed(body: bytes, content_type: str) -> Scrape:
    """Read a scrape in the format that it says it has."""
    text = body.decode()
    if content_type.startswith("application/openmetrics-text"):
        families = list(openmetrics.text_string_to_metric_families(text))
    else:
        assert content_type.startswith("text/plain")
        families = list(text_string_to_metric_families(text))
    values: dict[Key, float] = {}
    for family in families:
        for sample in family.samples:
            key = (sample.name, frozenset(sample.labels.items()))
            assert key not in values, f"{key} is told twice"
            values[key] = sample.value
    return Scrape(values, {family.name: family.type for family in families})
