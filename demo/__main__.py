"""``python -m demo``: run both shops through one outage, show it, and say how it went."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from demo.arm import BREAKER, NAIVE, Arm
from demo.live import Show, screen
from demo.plot import Curve, draw
from demo.processes import DemoError, Family, family
from demo.redis_server import find_redis
from demo.report import print_verdicts
from demo.scenario import QUICK, Scenario
from demo.verdict import Verdict, judge

OUT = Path(__file__).resolve().parent / "out"
_TICK = 0.2
_LINGER = 3.0
"""Seconds for which a shop must have nothing left to do; long enough to see a second copy of a mail."""


def parse(arguments: Sequence[str] | None) -> tuple[Scenario, Path, bool]:
    """The command line as a scenario, the directory for the results, and whether to stay up afterwards."""
    parser = argparse.ArgumentParser(
        prog="python -m demo",
        description="One outage of a mail server, met by two shops: with celery-breaker, and with plain retries.",
    )
    parser.add_argument("--quick", action="store_true", help="a shorter run, for tests")
    parser.add_argument("--outage", type=_positive, metavar="SECONDS", help="how long the mail server is down (22)")
    parser.add_argument("--rate", type=_positive, metavar="PER_SECOND", help="orders per second (8)")
    parser.add_argument("--seed", type=int, help="other customers (1)")
    parser.add_argument("--out", type=Path, default=OUT, metavar="DIR", help="where the plot goes (demo/out)")
    parser.add_argument("--hold", action="store_true", help="stay up afterwards, with the dashboard, until Ctrl-C")
    options = vars(parser.parse_args(arguments))
    scenario = QUICK if options["quick"] else Scenario()
    chosen = {name: options[name] for name in ("outage", "rate", "seed") if options[name] is not None}
    return dataclasses.replace(scenario, **chosen), options["out"].resolve(), options["hold"]


def _positive(word: str) -> float:
    """A number above 0, for argparse."""
    number = float(word)
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError("must be above 0")
    return number


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo. 0: every mail of the shop with the breaker was delivered exactly once; 1: not so; 130: Ctrl-C."""
    scenario, out, hold = parse(arguments)
    console = Console(width=None if sys.stdout.isatty() else 100)
    directory = Path(tempfile.mkdtemp(prefix="celery-breaker-demo-"))
    try:
        verdicts = run(scenario, directory, out, console, hold=hold)
    except KeyboardInterrupt:
        shutil.rmtree(directory, ignore_errors=True)
        console.print("Interrupted; all processes ended.")
        return 130
    except DemoError as error:
        console.print(f"The demo failed: {error}\nIts logs are in {directory}", style="red", markup=False)
        return 1
    if verdicts[BREAKER.name].exactly_once:
        shutil.rmtree(directory, ignore_errors=True)
        return 0
    console.print(f"Not every mail was delivered exactly once. The logs are in {directory}", style="bold red")
    return 1


def run(scenario: Scenario, directory: Path, out: Path, console: Console, *, hold: bool = False) -> dict[str, Verdict]:
    """Run both arms to their end, print the verdict, draw the plot; then stay up with the dashboard, if told to."""
    executable = find_redis()
    console.print("Starting Redis, mail servers, workers and beat…", style="dim")
    with family() as children:
        arms = [Arm(kind, children, directory / kind.name) for kind in (BREAKER, NAIVE)]
        start(arms, children, executable)
        address = arms[0].start_dashboard() if hold else ""  # from the start, so that it has seen the outage
        if address:
            console.print(f"Dashboard: {address}")
        with screen(console, scenario) as show:
            started = play(scenario, arms, children, show)
        verdicts = report(scenario, arms, started, out, console)
        if address:
            wait_for_interrupt(console, children, address)
    if not address:
        console.print("To look at it in the dashboard, and break more: make demo HOLD=1", style="dim")
    return verdicts


def report(scenario: Scenario, arms: Sequence[Arm], started: float, out: Path, console: Console) -> dict[str, Verdict]:
    """Judge, draw and print."""
    verdicts = {arm.kind.name: judge(arm.record) for arm in arms}
    plots = draw([Curve(arm.kind.name, arm.kind.title, arm.record) for arm in arms], started, out)
    facts = {name: verdict.as_dict() for name, verdict in verdicts.items()}
    facts["scenario"] = dataclasses.asdict(scenario)
    (out / "verdict.json").write_text(json.dumps(facts, indent=2) + "\n")
    print_verdicts(console, scenario, verdicts, plots)
    return verdicts


def wait_for_interrupt(console: Console, children: Family, address: str) -> None:
    """Keep everything up until Ctrl-C."""
    console.print(f"The shop with the breaker stays up. Its dashboard: {address}  (Ctrl-C ends it)")
    with contextlib.suppress(KeyboardInterrupt):
        while True:
            children.check()
            time.sleep(_TICK)


def start(arms: Sequence[Arm], children: Family, executable: str) -> None:
    """Start everything, and return when all workers are ready."""
    for arm in arms:
        arm.start_services(executable)
    for arm in arms:
        arm.start_workers()
    deadline = time.monotonic() + 60
    while not all(arm.workers_ready() for arm in arms):
        children.check()
        if time.monotonic() > deadline:
            raise DemoError("the workers were not ready within 60 s")
        time.sleep(0.05)


def play(scenario: Scenario, arms: Sequence[Arm], children: Family, show: Show) -> float:
    """Let the orders come, take the mail servers down and up; returns the Unix time of second 0."""
    started = time.time() + 2.5  # the customers' processes need a moment to load Django
    for arm in arms:
        arm.start_customers(scenario, started)
    outage = Outage(scenario, arms, children)
    busy_at = dict.fromkeys(arms, started)
    while True:
        elapsed = time.time() - started
        outage.tick(elapsed)
        for arm in arms:
            arm.look()
            if not arm.at_rest():
                busy_at[arm] = time.time()
        children.check()
        show(arms, elapsed)
        rested = all(time.time() - at >= _LINGER for at in busy_at.values())
        if outage.over and (rested or elapsed > scenario.orders_for + scenario.patience):
            return started
        time.sleep(_TICK)


class Outage:
    """Takes the mail servers of all arms down at the same time, and brings them back together."""

    def __init__(self, scenario: Scenario, arms: Sequence[Arm], children: Family) -> None:
        """Not yet."""
        self._scenario, self._arms, self._children = scenario, arms, children
        self._begun = False
        self.over = False

    def tick(self, elapsed: float) -> None:
        """Do what is due `elapsed` seconds after the first order."""
        if not self._begun and elapsed >= self._scenario.before:
            self._begun = True
            self._children.end(*(arm.mail_server for arm in self._arms if arm.mail_server is not None))
        elif self._begun and not self.over and elapsed >= self._scenario.back_at:
            self.over = True
            for arm in self._arms:
                arm.start_mail_server()


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError):
        sys.exit(main())
