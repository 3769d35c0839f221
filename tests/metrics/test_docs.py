"""What docs/ says of metrics, log fields and signals is what the code does."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from celery_breaker.core.record import Mode, State
from celery_breaker.metrics.table import METRICS, Kind, Metric
from celery_breaker.plugin import signals
from tests.engine.world import World, fail

ROOT = Path(__file__).parent.parent.parent
DOCS = ROOT / "docs"
PAGE = (DOCS / "observability.md").read_text()

SUFFIXES = {Kind.HISTOGRAM: ["_bucket", "_sum", "_count"]}
SERIES = {f"{metric.name}{suffix}": metric for metric in METRICS for suffix in SUFFIXES.get(metric.kind, [""])}
VALUES = {"state": {str(state) for state in State}, "mode": {str(mode) for mode in Mode}}


def rows(heading: str) -> Iterator[list[str]]:
    """The rows of the first table below a heading."""
    below = PAGE.split(f"\n{heading}\n", 1)[1]
    table = re.search(r"(?:^\|.*\n)+", below, re.MULTILINE)
    assert table is not None
    for line in table[0].splitlines()[2:]:
        yield [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


def ticked(text: str) -> list[str]:
    return re.findall(r"`([^`]+)`", text)


def test_the_table_lists_every_metric_with_its_type_and_labels() -> None:
    told = [(ticked(name), kind, tuple(ticked(labels))) for name, kind, labels, _, _ in rows("### The metrics")]
    assert told == [([metric.name], str(metric.kind), metric.labels) for metric in METRICS]


def test_values_of_labels_in_the_table_are_those_there_are() -> None:
    meanings = {ticked(name)[0]: meaning for name, _, _, _, meaning in rows("### The metrics")}
    for label, values in VALUES.items():
        assert set(ticked(meanings[f"celery_breaker_{label}"])) == values


def test_names_follow_prometheus() -> None:
    for metric in METRICS:
        assert metric.name.endswith("_total") == (metric.kind is Kind.COUNTER)
        assert re.fullmatch(r"celery_breaker_[a-z_]+", metric.name)
        assert not metric.help.endswith(".")
    assert len({metric.name for metric in METRICS}) == len(METRICS)


def test_every_field_of_a_line_is_documented(caplog: pytest.LogCaptureFixture) -> None:
    world = World()
    registry = world.process()
    plain = set(logging.makeLogRecord({}).__dict__) | {"message"}
    fail(registry, 3)
    world.server.down = True
    registry.refresh()
    told = {key for record in caplog.records for key in record.__dict__.keys() - plain}
    table = PAGE.split("Lines about a breaker carry fields", 1)[1].split("## Signals", 1)[0]
    documented = {
        field for line in table.splitlines() if line.startswith("| `") for field in ticked(line.split("|")[1])
    }
    assert documented == told


def test_every_signal_is_documented() -> None:
    documented = {name for row in rows("## Signals") for name in ticked(row[0])}
    assert documented == set(signals.__all__)
    arguments = {name: set(ticked(row[1])) for row in rows("## Signals") for name in ticked(row[0])}
    assert arguments["task_deferred"] == {"name", "task_id", "task_name", "action", "deferrals"}


def test_the_health_check_that_is_shown_is_the_one_that_is_tried() -> None:
    block = PAGE.split("<!-- tests/integration/alive.py -->\n```python\n", 1)[1].split("```", 1)[0]
    assert block == (ROOT / "tests" / "integration" / "alive.py").read_text()


# --- alerts and the Grafana dashboard ---------------------------------------------------------------------------------


def check_expression(expression: str) -> set[str]:
    """The metrics that it uses: each exists, with the labels and values that are asked of it."""
    used: set[str] = set()
    for name, selector in re.findall(r"(celery_breaker_\w+)(\{[^}]*\})?", expression):
        assert name in SERIES, f"{name} in {expression}"
        metric = SERIES[name]
        used.add(metric.name)
        for label, matched in re.findall(r'(\w+)\s*(?:=~|!~|!=|=)\s*"([^"]*)"', selector):
            assert label in metric.labels, f"{label} of {name} in {expression}"
            if label in VALUES:
                assert set(matched.split("|")) <= VALUES[label], expression
    assert used, f"{expression} uses none of ours"
    return used


def test_alerts_use_metrics_that_exist() -> None:
    rules = [rule for group in yaml.safe_load((DOCS / "alerts.yml").read_text())["groups"] for rule in group["rules"]]
    used: set[str] = set()
    for rule in rules:
        used |= check_expression(rule["expr"])
        assert rule["alert"].startswith("CeleryBreaker")
        assert rule["labels"]["severity"] in {"critical", "warning", "info"}
        assert rule["annotations"].keys() == {"summary", "description"}
    assert len({rule["alert"] for rule in rules}) == len(rules) == 9
    assert {"celery_breaker_state", "celery_breaker_trips", "celery_breaker_oldest_parked_seconds"} <= used
    assert {"celery_breaker_agent_tended_age_seconds", "celery_breaker_store_errors_total"} <= used
    assert "celery_breaker_workers_cut_off" in used


@pytest.fixture(scope="module")
def dashboard() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((DOCS / "grafana.json").read_text())
    return loaded


def test_the_dashboard_shows_every_metric_and_none_that_is_not_there(dashboard: dict[str, Any]) -> None:
    expressions = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", [])]
    used: set[str] = set()
    for expression in expressions:
        used |= check_expression(expression)
    assert used == {metric.name for metric in METRICS}
    for annotation in dashboard["annotations"]["list"]:
        check_expression(annotation["expr"])


def test_the_dashboard_can_be_imported_anywhere(dashboard: dict[str, Any]) -> None:
    variables = {variable["name"]: variable for variable in dashboard["templating"]["list"]}
    assert variables["datasource"]["type"] == "datasource"
    assert variables["datasource"]["query"] == "prometheus"
    panels = [panel for panel in dashboard["panels"] if panel["type"] != "row"]
    for owner in (*panels, *dashboard["annotations"]["list"], variables["name"]):
        assert owner["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
    assert "id" not in dashboard, "Grafana gives it one"
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])


def test_panels_lie_side_by_side(dashboard: dict[str, Any]) -> None:
    taken: set[tuple[int, int]] = set()
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert place["x"] + place["w"] <= 24
        taken |= cells


def test_the_checks_above_can_fail() -> None:
    for wrong in (
        "celery_breaker_sate > 1",
        'celery_breaker_state{nmae="smtp"}',
        'celery_breaker_state{state="opened"}',
        "up == 0",
    ):
        with pytest.raises(AssertionError):
            check_expression(wrong)
    assert isinstance(SERIES["celery_breaker_bus_delay_seconds_bucket"], Metric)
