from __future__ import annotations

import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from celery_breaker.errors import ConfigurationError
from celery_breaker.simulation import chart
from celery_breaker.simulation.plot import check_plot, plot
from tests.simulation.scenarios import run

amounts = st.lists(st.floats(0, 1e6), max_size=60)


@given(amounts, st.integers(1, 80))
def test_a_curve_is_never_wider_than_asked_for(values: list[float], columns: int) -> None:
    assert len(chart.shrink(values, columns, max)) == min(columns, len(values))


@given(amounts)
def test_anything_above_nothing_is_seen(values: list[float]) -> None:
    drawn = chart.curve(values, top=max(values, default=0), glyphs=chart.BLOCKS)
    assert [glyph != " " for glyph in drawn] == [value > 0 for value in values]


def test_the_highest_is_a_full_block_and_half_of_it_half_a_block() -> None:
    assert chart.curve([8, 4, 1], top=8, glyphs=chart.BLOCKS) == "█▄▁"


def test_a_short_half_open_state_is_seen_among_open_ones() -> None:
    states = ["open"] * 9 + ["half_open"] + ["closed"] * 10
    assert chart.strip(states, 2, glyphs=chart.ASCII) == "?-"


def test_a_picture_is_drawn(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    report = run(duration=40.0)
    for name in ("outage.svg", "outage.png"):
        plot(tmp_path / name, "an outage", report, without=report)
        assert (tmp_path / name).stat().st_size > 5000
    assert "<svg" in (tmp_path / "outage.svg").read_text()


def test_without_matplotlib_the_cure_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ConfigurationError, match="pip install matplotlib"):
        check_plot(tmp_path / "outage.svg")


@pytest.mark.parametrize(
    ("name", "said"), [("outage.txt", "must end in"), ("nowhere/outage.svg", "there is no folder")]
)
def test_a_picture_that_cannot_be_is_refused_before_the_work(tmp_path: Path, name: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        check_plot(tmp_path / name)
