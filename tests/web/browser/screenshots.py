"""``python -m tests.web.browser.screenshots docs``: the pictures of the dashboard in the documentation.

They show a made-up evening at a shop, on a desk without Celery, so that they come out alike each time.
"""

from __future__ import annotations

import random
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import uvicorn
from PIL import Image

from celery_breaker.core.classify import Verdict
from celery_breaker.core.policy import Policy
from celery_breaker.core.record import Mode, State
from celery_breaker.engine.registry import Outcome, Registry
from celery_breaker.status import WorkerSeen, actions
from celery_breaker.status.sampler import Sampler
from celery_breaker.web import WebOptions, create_app
from tests.engine.world import SilentReporter
from tests.status.desks import Declared, Office, office
from tests.support.processes import free_port
from tests.support.waiting import eventually
from tests.web.browser.browsing import Tab, chromium

POLICY = Policy(max_failures=10, failure_rate=0.5, recovery_timeout=60, max_recovery_timeout=600, jitter=0)
CALM = ("geocoder", "search", "warehouse", "loyalty", "webhook:acme.example", "webhook:globex.example")
NAMES = ("smtp", "payments", "crm", "billing", "sms", *CALM)
GUARDED = {"mail.send": ["smtp"], "mail.newsletter": ["smtp"], "pay.charge": ["payments"], "crm.sync": ["crm"]}
STEP = 5.0

SHOTS: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("web-overview-light", "./", {"color_scheme": "light", "viewport": {"width": 1280, "height": 720}}),
    ("web-overview-dark", "./", {"color_scheme": "dark", "viewport": {"width": 1280, "height": 720}}),
    ("web-breaker", "breaker?name=smtp", {"color_scheme": "light", "viewport": {"width": 1200, "height": 1150}}),
    ("web-narrow", "./", {"color_scheme": "light", "viewport": {"width": 390, "height": 780}}),
)


class Evening:
    """The shop: its breakers, two workers, and what a sampler saw of them."""

    def __init__(self) -> None:
        self.at: Office = office(Declared(declared=dict.fromkeys(NAMES, POLICY), guarded=dict(GUARDED)))
        self.at.clock.time = time.time() - 3600.0
        self.sampler = Sampler(self.at.desk, clock=self.at.clock)
        self.workers = [self._worker("celery@mail-1"), self._worker("celery@mail-2")]
        self._random = random.Random(7)
        self._rates = {name: (self._random.randint(2, 6), 0.01) for name in NAMES}

    def _worker(self, name: str) -> Registry:
        policy_of = self.at.desk.catalogue.of
        worker = Registry(self.at.server, policy_of=policy_of, worker=name, clock=self.at.clock, random=lambda: 0.5)
        worker.reporter = SilentReporter()  # type: ignore[assignment]
        worker.work()
        return worker

    def pass_by(self, seconds: float, **failing: float) -> None:
        """Time passes; these breakers' calls fail at this rate."""
        for _ in range(int(seconds / STEP)):
            self.at.clock.advance(STEP)
            for name, (calls, usual) in self._rates.items():
                for _ in range(calls):
                    self._call(name, failing.get(name, usual))
            for worker in self.workers:
                worker.work()
            self.sampler.look()

    def _call(self, name: str, rate: float) -> None:
        worker = self._random.choice(self.workers)
        record, ticket = worker.cell(name).record, worker.cell(name).ticket
        if record.state is not State.CLOSED or ticket is None:
            self.at.lots.park(name, 1, since=self.at.clock())
            return
        failed = self._random.random() < rate
        more = {"reason": "ConnectionRefusedError(111, 'Connection refused')"} if failed else {}
        task = next((task for task, names in GUARDED.items() if name in names), "")
        outcome = Outcome(ticket, Verdict.FAILURE if failed else Verdict.SUCCESS, **more)
        worker.report(replace(outcome, task=task, task_id=f"{self._random.getrandbits(32):08x}-4c1f"))

    def change(self, name: str, **fields: Any) -> None:
        """What an agent would have done to a record; times are from now on."""
        for moment in ("since", "until"):
            if moment in fields:
                fields[moment] += self.at.clock()
        self.at.desk.act(name, actions.Action(lambda record, now: replace(record, **fields), lambda record: True))

    def tell(self) -> None:
        """The story up to now."""
        self.pass_by(900)
        self.pass_by(300, crm=0.25)
        self.pass_by(600)
        self.pass_by(120, crm=0.35)
        self.pass_by(1300)
        self.pass_by(60, smtp=0.95)
        for generation, seconds in ((2, 70.0), (4, 100.0)):
            self.change("smtp", state=State.HALF_OPEN, generation=generation, since=-1.0)
            self.pass_by(STEP)
            self.change(
                "smtp",
                state=State.OPEN,
                generation=generation + 1,
                trips=1 + generation // 2,
                since=0.0,
                until=seconds + 47.0,
                reason="the probe failed: ConnectionRefusedError(111, 'Connection refused')",
            )
            self.pass_by(seconds)
        self.pass_by(STEP, payments=0.6)
        desk = self.at.desk
        desk.act("billing", actions.force(Mode.FORCED_OPEN, by="web:eve", reason="month's end", expires_in=7260))
        desk.act("search", actions.force(Mode.OBSERVING, by="adam@ops", reason="new thresholds"))
        self.change(
            "warehouse", state=State.HALF_OPEN, generation=7, since=-4.0, trips=1, reason="12 of 20 calls failed"
        )
        self.at.lots.park("sms", 640, since=self.at.clock() - 340)
        self.change("sms", draining=True, ramp=20.0, generation=3, since=-25.0)
        self.at.crew.seen = [
            WorkerSeen(name=name, store="redis://db/0", connected=True, view_age=0.4, agent=agent, tended=1.0)
            for name, agent in (("celery@mail-1", True), ("celery@mail-2", False))
        ]
        self.sampler._ask()
        self.sampler.look()


def main(folder: Path) -> None:
    """Take them."""
    evening = Evening()
    evening.tell()
    options = WebOptions(port=free_port(), allow_actions=True)
    app = create_app(evening.at.desk, sampler=evening.sampler, options=options)
    server = uvicorn.Server(uvicorn.Config(app, port=options.port, log_config=None, timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    eventually(lambda: server.started, "the dashboard should listen")
    with chromium() as browser:
        for name, address, how in SHOTS:
            tab = Tab.open(browser, f"http://127.0.0.1:{options.port}/", locale="en-GB", timezone_id="UTC", **how)
            path = folder / f"{name}.png"
            tab.goto(address).screenshot(path=path)
            tab.context.close()
            Image.open(path).convert("RGB").quantize(160).save(path, optimize=True)
    server.should_exit = True
    thread.join(10)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
