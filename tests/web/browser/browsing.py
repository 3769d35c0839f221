"""A real browser: Debian's chromium, driven by Playwright, and what it complains of."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from tests.support.servers import missing

ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser with a profile of its own, which goes with it."""
    executable = shutil.which("chromium")
    if executable is None:
        missing("chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=ARGUMENTS)
        try:
            yield browser
        finally:
            browser.close()


@dataclass
class Tab:
    """A page in a context of its own, and what the console said of it.

    Attributes:
        complaints: warnings and errors, violations of the content security policy among them.
    """

    context: BrowserContext
    page: Page
    complaints: list[str] = field(default_factory=list)

    @classmethod
    def open(cls, browser: Browser, url: str, **how: Any) -> Tab:
        """A new one; addresses are relative to ``url``."""
        context = browser.new_context(base_url=url, **how)
        tab = cls(context, context.new_page())
        tab.page.set_default_timeout(20_000)
        tab.page.on("console", lambda said: tab._heard(said.type, said.text))
        tab.page.on("pageerror", lambda error: tab._heard("error", str(error)))
        return tab

    def _heard(self, kind: str, text: str) -> None:
        if kind in ("error", "warning"):
            self.complaints.append(text)

    def goto(self, address: str) -> Page:
        """Open a page, and wait until it is live."""
        self.page.goto(address)
        if self.page.locator("#pulse").count():
            self.page.locator("#pulse.on").wait_for()
        return self.page

    def tab_to(self, selector: str, most: int = 80) -> None:
        """Press the tab key until this has the focus, as somebody without a mouse does."""
        for _ in range(most):
            self.page.keyboard.press("Tab")
            if self.page.evaluate("selector => document.activeElement.matches(selector)", selector):
                return
        raise AssertionError(f"{selector} cannot be reached with the tab key")

    def faults(self) -> list[str]:
        """What axe finds that is serious or critical."""
        found = Axe().run(self.page).response["violations"]
        return [
            f"{each['id']}: {each['help']}: {[node['html'] for node in each['nodes']]}"
            for each in found
            if each["impact"] in ("serious", "critical")
        ]
