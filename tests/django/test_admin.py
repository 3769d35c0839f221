"""Breakers in Django's admin: a real site, real logins, and breakers kept in Redis."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from celery import Celery

from celery_breaker.core.journal import Book, Entry, Event
from celery_breaker.core.record import Mode
from celery_breaker.plugin.app import breakers_of
from celery_breaker.plugin.parking.lot import parking_queue
from celery_breaker.plugin.parking.note import Note
from celery_breaker.status import Desk, actions
from tests.support.django_sites import Browser, Site
from tests.support.servers import RedisServer, new_redis

LIST = "/admin/celery_breaker/breaker/"
DEEDS = ("open", "close", "reset", "disable", "observe", "auto", "release", "purge")


@pytest.fixture(scope="module")
def site(redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    store = new_redis(tmp_path_factory.mktemp("store"))
    site = Site(tmp_path_factory.mktemp("site"), broker=redis_server.url_for(5), store=store)
    try:
        site.set_up()
        yield site
    finally:
        site.kill()
        store.kill()


@pytest.fixture
def app(site: Site, redis_server: RedisServer, make_app: Callable[..., Celery]) -> Celery:
    """An app beside the site's, on the same store and broker, both empty."""
    site.store.start()
    for client in (site.store.client(), redis_server.client(5)):
        with client:
            client.flushdb()
    return make_app(site.conf)


@pytest.fixture
def desk(app: Celery) -> Desk:
    return breakers_of(app).desk


@pytest.fixture
def root(site: Site) -> Browser:
    return Browser(site, "root")


def page_of(name: str) -> str:
    return f"{LIST}{name}/change/"


def park(app: Celery, name: str, count: int) -> None:
    for number in range(count):
        note = Note().again(breaker=name, queue="origin", now=1_700_000_000.0)
        app.send_task("shop.mail", (f"s3cret-{number}",), queue=parking_queue(name), headers=note.on({}))


def ask(browser: Browser, name: str, action: str, **more: Any) -> tuple[int, str]:
    return browser.post(page_of(name), {"action": action, **more})


def rows(text: str) -> dict[str, list[str]]:
    """The list's cells, by breaker."""
    table = text.split('id="result_list"')[1].split("</table>")[0]
    found = {}
    for row in re.findall(r"<tr>(.*?)</tr>", table, re.DOTALL)[1:]:
        cells = [html.unescape(re.sub(r"<[^>]+>", "", cell)) for cell in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row)]
        found[cells[0] or cells[1]] = cells
    return found


# --- looking ----------------------------------------------------------------------------------------------------------


def test_the_list_shows_each_breaker_the_urgent_first(root: Browser, app: Celery, desk: Desk) -> None:
    desk.act("smtp", actions.force(Mode.FORCED_OPEN, by="eve", reason="we move"))
    park(app, "smtp", 3)
    status, text = root.get(LIST)
    assert status == 200
    shown = rows(text)
    assert list(shown) == ["smtp", "crm"]
    assert "forced open" in shown["smtp"]
    assert "by eve, until lifted: we move" in shown["smtp"]
    assert "3" in shown["smtp"]
    assert "closed" in shown["crm"]


def test_the_list_is_filtered_and_comes_in_pages(root: Browser, desk: Desk) -> None:
    for number in range(120):
        desk.act(f"webhook:host-{number:03}", actions.force(Mode.OBSERVING, by="eve"))
    first = root.get(LIST)[1]
    assert len(rows(first)) == 100
    assert "122 breakers, page 1 of 2" in first
    assert len(rows(root.get(f"{LIST}?p=2")[1])) == 22
    assert list(rows(root.get(f"{LIST}?q=HOST-00")[1])) == [f"webhook:host-00{number}" for number in range(10)]
    assert rows(root.get(f"{LIST}?state=open")[1]) == {"No breaker to show.": ["No breaker to show."]}
    for odd in ("?p=x", "?p=-1", "?p=9999", "?state=strange", "?q=%00%FF"):
        assert root.get(LIST + odd)[0] == 200


def test_a_page_tells_all_that_is_known_of_a_breaker_but_no_arguments(root: Browser, app: Celery, desk: Desk) -> None:
    park(app, "smtp", 2)
    desk.act("smtp", actions.force(Mode.FORCED_OPEN, by="eve", reason="we move"))
    failed = Entry(
        at=1.7e9, event=Event.FAILURE, what="OSError('down')", by="celery@one", task="shop.mail", task_id="id-7"
    )
    desk.registry.note("smtp", Book.FAILURES, [failed])
    status, text = root.get(page_of("smtp"))
    assert status == 200
    for words in ("we move", "eve", "OSError(&#x27;down&#x27;)", "id-7", "celery@one", "shop.mail", "origin"):
        assert words in text
    assert "s3cret" not in text


def test_names_and_reasons_are_escaped(root: Browser, desk: Desk) -> None:
    name = "webhook:<script>alert(1)</script>/x?y=1&z"
    desk.act(name, actions.force(Mode.FORCED_OPEN, by="<b>eve</b>", reason="<img src=x>"))
    text = root.get(LIST)[1]
    link = re.search(r'href="([^"]+webhook[^"]+)"', text)
    assert link is not None
    status, page = root.get(html.unescape(link[1]))
    assert status == 200
    for shown in (text, page):
        assert "<script>alert" not in shown
        assert "<img src=x>" not in shown
        assert "<b>eve" not in shown
    assert "webhook:&lt;script&gt;" in page
    status, _ = root.post(html.unescape(link[1]), {"action": "auto"})
    assert status == 302
    assert desk.statuses([name])[0].mode == "auto"


def test_what_is_unknown_leads_back_with_the_nearest_name(root: Browser, app: Celery) -> None:
    assert root.get(page_of("smpt")) == (302, LIST)
    assert "did you mean &#x27;smtp&#x27;?" in root.get(LIST)[1]
    assert root.get(page_of("local"))[0] == 200
    assert root.get(page_of("webhook:{host}"))[0] == 302


# --- doing ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("action", "mode"), [("open", "forced_open"), ("disable", "disabled"), ("observe", "observing")]
)
def test_an_override_names_the_user_in_both_journals(site: Site, desk: Desk, action: str, mode: str) -> None:
    steerer = Browser(site, "steerer")
    assert ask(steerer, "smtp", action, reason="we move", expires="2h") == (302, page_of("smtp"))
    [status] = desk.statuses(["smtp"])
    assert (status.mode, status.override_by, status.override_reason) == (mode, "steerer", "we move")
    assert 7000 < (status.override_expires_in or 0) <= 7200
    assert "for 7200 s: we move" in steerer.get(page_of("smtp"))[1]
    assert ask(steerer, "smtp", "auto")[0] == 302
    assert desk.statuses(["smtp"])[0].mode == "auto"
    assert [entry.by for entry in desk.history("smtp")] == ["steerer", "steerer"]
    log = steerer.get(f"{LIST}smtp/history/")[1]
    assert "for 7200 s: we move" in log
    assert "Lift the override" in log


def test_close_and_reset_by_hand(site: Site, desk: Desk) -> None:
    steerer = Browser(site, "steerer")
    desk.act("smtp", actions.force(Mode.FORCED_OPEN, by="eve"))
    ask(steerer, "smtp", "close", reason="it is fixed")
    assert desk.statuses(["smtp"])[0].mode == "auto"
    ask(steerer, "smtp", "reset")
    latest = desk.history("smtp")[0]
    assert (latest.by, latest.reason) == ("steerer", "reset by steerer")


def test_several_breakers_are_done_at_once(root: Browser, desk: Desk) -> None:
    status, where = root.post(LIST, {"action": "open", "name": ["smtp", "crm", "cmr"], "reason": "night"})
    assert (status, where) == (302, LIST)
    assert {one.mode for one in desk.statuses(["smtp", "crm"])} == {"forced_open"}
    said = root.get(LIST)[1]
    assert "Breaker &#x27;smtp&#x27;: Force open: night" in said
    assert "did you mean &#x27;crm&#x27;?" in said


def test_tasks_are_released_and_deleted_and_the_journal_counts_them(root: Browser, app: Celery, desk: Desk) -> None:
    park(app, "smtp", 5)
    ask(root, "smtp", "release", count="2")
    assert desk.yard.size("smtp") == 3
    ask(root, "smtp", "purge", confirm="smpt")
    assert desk.yard.size("smtp") == 3, "a name that is mistyped deletes nothing"
    ask(root, "smtp", "purge", confirm="smtp")
    assert desk.yard.size("smtp") == 0
    assert [(entry.event, entry.count, entry.by) for entry in desk.history("smtp")] == [
        (Event.PURGED, 3, "root"),
        (Event.RELEASED, 2, "root"),
    ]
    root.post(LIST, {"action": "purge", "name": ["smtp"], "confirm": "smtp"})
    assert "not one of the available choices" in root.get(LIST)[1], "of one breaker at a time only"


def test_values_that_cannot_be_are_said_and_nothing_is_done(root: Browser, desk: Desk) -> None:
    for more in ({"expires": "soon"}, {"count": "-1"}, {"reason": "x" * 300}):
        status, text = ask(root, "smtp", "open", **more)
        assert status == 200
        assert 'class="error"' in text
    for action in ("explode", ""):
        assert ask(root, "smtp", action)[0] == 200
    assert desk.history("smtp") == []


# --- who may ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("user", "may"),
    [("stranger", ()), ("viewer", ()), ("steerer", DEEDS[:6]), ("releaser", ("release",)), ("root", DEEDS)],
)
def test_each_action_takes_its_permission(site: Site, app: Celery, desk: Desk, user: str, may: tuple[str, ...]) -> None:
    browser = Browser(site, user)
    seen = 403 if user == "stranger" else 200
    status, text = browser.get(page_of("smtp"))
    assert (browser.get(LIST)[0], status) == (seen, seen)
    assert [action for action in DEEDS if f'<option value="{action}">' in text] == list(may)
    park(app, "smtp", 1)
    for action in DEEDS:
        if action not in may:
            assert ask(browser, "smtp", action, confirm="smtp")[0] == 403
            assert browser.post(LIST, {"action": action, "name": ["smtp"], "confirm": "smtp"})[0] == 403
    if not may:
        assert desk.history("smtp") == []
        assert desk.yard.size("smtp") == 1


def test_strangers_and_forged_requests_do_nothing(site: Site, root: Browser, desk: Desk) -> None:
    assert Browser(site).get(LIST)[0] == 302
    for path in (LIST, page_of("smtp")):
        assert root.post(path, {"action": "open", "name": "smtp"}, token=False)[0] == 403
    assert desk.history("smtp") == []


def test_breakers_are_neither_added_nor_deleted(root: Browser, app: Celery) -> None:
    assert root.get(f"{LIST}add/")[0] == 403
    assert root.get(f"{LIST}smtp/delete/")[0] == 403
    assert root.get("/admin/")[0] == 200
    assert root.get("/admin/celery_breaker/")[0] == 200


# --- beside it --------------------------------------------------------------------------------------------------------


def test_results_of_deferred_tasks_are_a_link_away(site: Site, root: Browser, app: Celery) -> None:
    site.project.python(
        "import django; django.setup()\n"
        "from django_celery_results.models import TaskResult\n"
        "TaskResult.objects.create(task_id='waits', status='DEFERRED')\n"
        "TaskResult.objects.create(task_id='ran', status='SUCCESS')"
    )
    link = re.search(r'href="([^"]+taskresult[^"]+DEFERRED)"', root.get(page_of("smtp"))[1])
    assert link is not None
    status, text = root.get(html.unescape(link[1]))
    assert status == 200
    assert "waits" in text
    assert ">ran<" not in text
    assert "taskresult" not in Browser(site, "viewer").get(LIST)[1], "they may not look at results"


def test_a_store_that_is_away_is_a_message_and_no_error(site: Site, root: Browser, app: Celery, desk: Desk) -> None:
    desk.act("smtp", actions.force(Mode.FORCED_OPEN, by="eve"))
    site.store.kill()
    for path in (LIST, page_of("smtp")):
        status, text = root.get(path)
        assert status == 200
        assert 'class="error"' in text
    assert ask(root, "smtp", "open")[0] == 302
    assert root.post(LIST, {"action": "open", "name": "smtp"})[0] == 302
    assert 'class="error"' in root.get(LIST)[1]
    site.store.start()
    assert "Traceback" not in site.logs()


def test_migrations_go_forward_and_back_and_grant_what_the_models_say(site: Site) -> None:
    project = site.project
    assert "No changes" in project.manage("makemigrations", "celery_breaker", "--check", "--dry-run")
    code = (
        "import django; django.setup()\n"
        "from django.contrib.auth.models import Permission\n"
        "print(sorted(Permission.objects.filter(content_type__model='breaker').values_list('codename', flat=True)))"
    )
    granted = ["purge_breaker", "release_breaker", "steer_breaker", "view_breaker"]
    assert str(granted) in project.python(code)
    for target in ("0001", "zero", "0002"):
        project.manage("migrate", "celery_breaker", target)
    assert str(granted) in project.python(code)
