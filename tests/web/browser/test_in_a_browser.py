"""The dashboard in a real browser: a process of its own, a real Redis, and a real worker where it matters."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from celery_breaker.core.record import Mode, State
from celery_breaker.status import Desk, actions
from tests.integration import guarded
from tests.integration.test_web import Dashboard
from tests.support.service import Service
from tests.support.waiting import eventually
from tests.support.workers import WorkerFactory
from tests.web.browser.browsing import Tab

Dashboards = Callable[..., Dashboard]
Tabs = Callable[..., Tab]

PAGES = ("./", "breaker?name=svc", "parked?name=svc", "workers", "nowhere")

WATCH = """() => new Promise(resolve => {
  const look = () => document.querySelector('tr[data-name="svc"].is-open') && resolve(Date.now() / 1000);
  new MutationObserver(look).observe(document.getElementById("rows"), {childList: true, subtree: true});
  look();
})"""


def open_svc(desk: Desk) -> None:
    """As a trip leaves it."""
    step = actions.Action(
        lambda record, now: replace(
            record,
            state=State.OPEN,
            generation=record.generation + 1,
            since=now - 20,
            until=now + 580,
            last_fault=now - 20,
            trips=2,
            reason="3 of 3 calls failed",
        ),
        lambda record: record.state is State.OPEN,
    )
    desk.act("svc", step)


def row(page: Page, name: str) -> Any:
    return page.locator(f'tr[data-name="{name}"]')


def test_a_real_trip_is_on_the_overview_within_a_second(
    dashboard: Dashboards,
    tab: Tabs,
    desk: Desk,
    settings: dict[str, Any],
    worker_factory: WorkerFactory,
    service: Service,
) -> None:
    worker = worker_factory(conf=settings)
    at = tab(dashboard())
    page = at.goto("./")
    expect(row(page, "svc")).to_have_class(re.compile("is-closed"))
    page.evaluate(f"() => {{ window.shown = ({WATCH})() }}")
    service.go_down()
    assert worker.app is not None
    for number in range(3):
        guarded.once.delay(service.folder, number)
    shown = page.evaluate("() => window.shown")
    [trip] = [entry for entry in desk.history("svc") if entry.what == "open"]
    assert shown - trip.at < 1.0
    expect(row(page, "svc")).to_contain_text("probe in")
    expect(page.locator("#say")).to_have_text("svc is open")
    expect(page).to_have_title("(1) Breakers")
    page.goto("breaker?name=svc")
    expect(page.locator("#failures")).to_contain_text("the service is down")
    expect(page.locator("#failing")).to_contain_text(worker.hostname)
    page.goto("workers")
    expect(row_of_workers(page)).to_contain_text(worker.hostname)
    assert at.complaints == []


def row_of_workers(page: Page) -> Any:
    return page.locator("#workers tbody tr")


def test_a_breaker_is_forced_open_with_the_keyboard_alone(dashboard: Dashboards, tab: Tabs, desk: Desk) -> None:
    at = tab(dashboard("--allow-actions"))
    page = at.goto("./")
    at.tab_to('a[href="breaker?name=svc"]')
    page.keyboard.press("Enter")
    page.wait_for_url("**/breaker?name=svc")
    at.tab_to('input[type="radio"]')
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowUp")
    at.tab_to('input[name="reason"]')
    page.keyboard.type("the mail server moves")
    at.tab_to('input[name="expires"]')
    page.keyboard.type("15m")
    page.keyboard.press("Escape")  # the list of durations
    at.tab_to("button")
    page.keyboard.press("Enter")
    expect(page.get_by_role("status")).to_contain_text("svc: forced open by web")
    expect(page.locator("#head")).to_contain_text("the mail server moves")
    [status] = desk.statuses(["svc"])
    assert (status.mode, status.override_reason) == ("forced_open", "the mail server moves")
    assert at.complaints == []


def test_parked_tasks_are_shown_released_and_purged(
    dashboard: Dashboards,
    tab: Tabs,
    desk: Desk,
    settings: dict[str, Any],
    worker_factory: WorkerFactory,
    service: Service,
) -> None:
    desk.act("svc", actions.force(Mode.FORCED_OPEN, by="a test"))
    worker = worker_factory(conf=settings)
    assert worker.app is not None
    for number in range(5):
        guarded.once.delay(service.folder, number)
    eventually(lambda: desk.yard.size("svc") == 5, "all tasks should be parked")
    page = tab(dashboard("--allow-actions")).goto("parked?name=svc")
    expect(page.locator("tbody tr")).to_have_count(5)
    expect(page.locator("tbody tr").first).to_contain_text("guarded.once")
    expect(page.locator("main")).not_to_contain_text(service.folder)
    page.get_by_label("How many").fill("2")
    page.get_by_role("button", name="Release").click()
    expect(page.get_by_role("status")).to_have_text("svc: 2 tasks released")
    eventually(lambda: desk.yard.size("svc") == 5, "they should be parked again")
    page.goto("breaker?name=svc")
    page.get_by_label("Name", exact=True).fill("smtp")
    page.get_by_role("button", name="Delete").click()
    expect(page.get_by_role("alert")).to_contain_text("type svc to confirm")
    expect(page.get_by_role("alert")).to_be_focused()
    page.get_by_label("Name", exact=True).fill("svc")
    page.get_by_role("button", name="Delete").click()
    expect(page.get_by_role("status")).to_have_text("svc: 5 tasks deleted")
    expect(page.locator("#timeline")).to_contain_text("5 tasks deleted")
    assert service.calls() == []


def test_without_rights_nothing_can_be_done(dashboard: Dashboards, tab: Tabs, desk: Desk) -> None:
    at = tab(dashboard())
    page = at.goto("breaker?name=svc")
    expect(page.locator("form")).to_have_count(0)
    refused = page.request.post("act", form={"name": "svc", "action": "open"})
    assert refused.status == 403
    [status] = desk.statuses(["svc"])
    assert status.mode == "auto"


def test_the_list_is_filtered_as_one_types(dashboard: Dashboards, tab: Tabs) -> None:
    at = tab(dashboard())
    page = at.goto("./")
    before = page.locator("#rows tr").count()
    assert before > 1
    page.get_by_label("Name").fill("svc")
    expect(page.locator("#rows tr")).to_have_count(1)
    assert page.url.endswith("/?q=svc")
    page.get_by_label("Name").fill("nothing like it")
    expect(page.locator("#pager")).to_contain_text("No breaker fits")
    page.get_by_label("Name").fill("")
    expect(page.locator("#rows tr")).to_have_count(before)
    page.get_by_label("State").select_option("open")
    expect(page.locator("#rows tr")).to_have_count(0)
    assert at.complaints == []


def test_a_countdown_goes_on_by_itself_and_what_was_opened_stays_open(
    dashboard: Dashboards, tab: Tabs, desk: Desk
) -> None:
    open_svc(desk)
    at = tab(dashboard())
    page = at.goto("breaker?name=svc")
    countdown = page.locator("#head [data-until]").first
    first = countdown.inner_text()
    page.locator("#figures-1 summary").click()
    marked = page.evaluate("() => document.querySelector('#charts figure').dataset.mark = 'old'")
    eventually(lambda: countdown.inner_text() != first, "the countdown should go on")
    assert marked == "old"
    eventually(
        lambda: page.locator("#charts figure").first.get_attribute("data-mark") is None,
        "the charts should be drawn anew",
        timeout=20,
    )
    assert page.evaluate("() => document.getElementById('figures-1').open")


def test_without_javascript_everything_is_there_and_can_be_done(dashboard: Dashboards, tab: Tabs, desk: Desk) -> None:
    open_svc(desk)
    at = tab(dashboard("--allow-actions"), java_script_enabled=False)
    at.page.goto("./")
    expect(row(at.page, "svc")).to_contain_text("probe in")
    at.page.get_by_role("link", name="Reload").click()
    at.page.get_by_label("State").select_option("open")
    at.page.get_by_role("button", name="Show").click()
    expect(at.page.locator("#rows tr")).to_have_count(1)
    at.page.get_by_role("link", name="svc").click()
    at.page.get_by_role("button", name="Reset").click()
    expect(at.page.get_by_role("status")).to_contain_text("svc: closed")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_serious_fault_and_the_console_stays_silent(
    dashboard: Dashboards, tab: Tabs, desk: Desk, scheme: str
) -> None:
    open_svc(desk)
    desk.act("crm", actions.force(Mode.FORCED_OPEN, by="eve", reason="moving", expires_in=600))
    desk.act("billing", actions.force(Mode.OBSERVING, by="eve"))
    at = tab(dashboard("--allow-actions"), color_scheme=scheme)
    for address in PAGES:
        at.page.goto(address)
        if address != "nowhere":
            at.page.locator("#pulse.on, main:not(:has(~ #pulse))").first.wait_for()
            assert at.complaints == [], address
        assert at.faults() == [], address


@pytest.mark.parametrize("address", PAGES[:4])
def test_on_a_phone_nothing_is_wider_than_the_screen(
    dashboard: Dashboards, tab: Tabs, desk: Desk, address: str
) -> None:
    open_svc(desk)
    desk.act("crm", actions.force(Mode.FORCED_OPEN, by="eve", reason="x" * 300))
    at = tab(dashboard("--allow-actions"), viewport={"width": 360, "height": 740})
    page = at.goto(address)
    assert page.evaluate("() => document.documentElement.scrollWidth") <= 360
    assert at.faults() == []


def test_when_the_store_comes_back_the_page_does_too(dashboard: Dashboards, tab: Tabs, make_redis: Any) -> None:
    server = make_redis()
    at = tab(dashboard(conf={"breaker_store": server.url_for(0)}))
    page = at.goto("./")
    server.stop()
    expect(page.locator("#banners")).to_contain_text("The store is away", timeout=20_000)
    expect(row(page, "svc")).to_be_visible()
    server.start()
    expect(page.locator("#banners")).to_be_empty(timeout=30_000)
