"""The benchmarks' machinery: pairs, table and page, and the cheap rows in their quick form."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from bench import __main__ as command
from bench import report
from bench.pairs import interleaved, ratio, spread
from bench.rows import Row
from bench.table import Printed
from tests.support.servers import redis_executable

MET = Row(number=1, what="a | b", figure="1.00 [0.9, 1.1]", bar="≥ 0.97", met=True, note="two\nlines")
MISSED = Row(number=2, what="c", figure="3", bar="≤ 2", met=False)
SHOWN = Row(number=3, what="d", figure="4", bar="", met=None)


def test_every_round_measures_every_arm_and_every_other_round_in_reverse() -> None:
    order: list[str] = []

    def arm(name: str) -> float:
        order.append(name)
        return float(len(order))

    figures = interleaved({"a": lambda: arm("a"), "b": lambda: arm("b")}, rounds=3)
    assert "".join(order) == "abbaab"
    assert figures == {"a": [1, 4, 5], "b": [2, 3, 6]}


def test_a_ratio_is_taken_round_by_round() -> None:
    found = ratio([2.0, 30.0, 8.0], [1.0, 10.0, 2.0])
    assert (found.median, found.low, found.high, found.count) == (3.0, 2.5, 3.5, 3)
    assert f"{found:.1f}" == "3.0 [2.5, 3.5]"


def test_one_figure_is_its_own_spread() -> None:
    assert f"{spread([7.0]):.0f}" == "7 [7, 7]"


def test_the_table_shows_every_row_once_under_one_head(capsys: pytest.CaptureFixture[str]) -> None:
    printed = Printed()
    printed.show([MET])
    printed.show([MISSED, SHOWN])
    shown = capsys.readouterr().out
    assert shown.count("figure") == 1
    assert "1.00 [0.9, 1.1]" in shown
    assert "NOT MET" in shown


def test_the_page_holds_table_measures_plots_and_versions(tmp_path: Path) -> None:
    page = report.write(tmp_path, [MET, MISSED, SHOWN], {1: "What one\nmeasures."}, [Path("bench-01-a.svg")], 12.3)
    text = page.read_text()
    assert r"| 1 | a \| b | 1.00 [0.9, 1.1] | ≥ 0.97 | met | two lines |" in text
    assert "| **NOT MET** |" in text
    assert "1 of 2 bars are met" in text
    assert "- **1.** What one measures." in text
    assert "](bench-01-a.svg)" in text
    assert "- celery: " in text
    assert "- Redis: " in text


def test_every_row_has_a_module() -> None:
    assert list(command.numbered()) == [1, 2, 3, 4, 5, 6, 9, 10, 11, 12, 13, 14, 15]  # 6 measures 7 and 8 too


def test_a_module_is_run_for_each_of_its_rows_and_once() -> None:
    assert list(command.wanted([7, 8, 1])) == [1, 6]
    assert command.wanted([]) == command.numbered()


def test_only_a_full_run_writes_the_page_unasked(tmp_path: Path) -> None:
    assert command.parse([]).out == command.DOCS
    assert command.parse(["4"]).out is None
    assert command.parse(["--quick"]).out is None
    assert command.parse(["4", "--out", str(tmp_path)]).out == tmp_path


def test_a_row_that_cannot_be_measured_is_not_met(capsys: pytest.CaptureFixture[str]) -> None:
    (row,) = command.measured(1, "bench.no_such_module", quick=True)
    assert row.met is False
    assert "no_such_module" in row.note
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.integration
@pytest.mark.parametrize("number", [4, 5])
def test_a_quick_run_of_a_cheap_row_gives_figures(number: int) -> None:
    redis_executable()  # skips where there is none
    rows = command.measured(number, command.numbered()[number], quick=True)
    assert rows
    for row in rows:
        assert row.number == number
        assert row.figure != "failed", row.note
        assert 0 < float(row.figure.split()[0].replace(",", "")) < math.inf
