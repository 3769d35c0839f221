"""The pages as they come from the server, without any script: what they show, and that nothing in them is obeyed."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from starlette.testclient import TestClient

from celery_breaker.core.record import Mode
from celery_breaker.status import ParkedTask, WorkerSeen, actions
from tests.engine.world import fail, succeed
from tests.status.desks import QUICK, Declared
from tests.web.desks import Room
from tests.web.reading import EVIL, Page, load, open_room

RTL = "\u202egnihtyna"
EVERY_PAGE = ("./", "breaker?name=smtp", "parked?name=smtp", "workers", "nowhere")


@pytest.fixture
def opened() -> tuple[Room, TestClient]:
    return open_room()


@pytest.fixture
def room(opened: tuple[Room, TestClient]) -> Room:
    return opened[0]


@pytest.fixture
def client(opened: tuple[Room, TestClient]) -> TestClient:
    return opened[1]


def trip(room: Room, name: str = "smtp") -> None:
    fail(room.at.registry, 3, name)
    room.sampler.look()


# --- the overview -----------------------------------------------------------------------------------------------------


def test_a_quiet_fleet_says_so(client: TestClient) -> None:
    page = load(client, "./")
    assert page.rows == ["crm", "smtp"]
    assert "All calls go through" in page.text
    assert "nothing parked" in page.text


def test_what_is_down_comes_first_with_when_it_is_probed_why_and_what_waits(room: Room, client: TestClient) -> None:
    room.at.lots.park("smtp", 1200, since=room.at.clock() - 90)
    trip(room)
    page = load(client, "./")
    assert page.rows == ["smtp", "crm"]
    row = page.row("smtp")
    for words in ("open", "probe in 30 s", "3 of 3", "1,200 for 1 min 30 s", "3 of 3 calls failed"):
        assert words in row
    assert "1 open" in page.text
    assert page.one("title").text == "(1) Breakers"


def test_a_state_is_told_by_a_word_and_a_shape_and_not_by_colour_alone(room: Room, client: TestClient) -> None:
    trip(room)
    page = load(client, "./")
    states = {
        element.text: element for element in page.all("span") if element.attributes.get("class", "")[:5] == "state"
    }
    assert set(states) == {"open", "closed"}
    assert len([svg for svg in page.all("svg") if svg.attributes.get("class") == "shape"]) == 2


def test_who_forced_it_and_for_how_long_is_in_the_row(room: Room, client: TestClient) -> None:
    room.at.desk.act("crm", actions.force(Mode.FORCED_OPEN, by="eve", reason="moving", expires_in=600))
    room.sampler.look()
    row = load(client, "./").row("crm")
    for words in ("forced open", "would be closed", "lifted in 10 min", "by eve, for another 10 min: moving"):
        assert words in row


def test_a_backlog_on_its_way_back_tells_when_it_will_be_gone(room: Room, client: TestClient) -> None:
    room.at.lots.park("smtp", 100)
    step = actions.Action(lambda record, now: replace(record, draining=True, ramp=10.0), lambda record: True)
    room.at.desk.act("smtp", step)
    room.sampler.look()
    assert "backlog gone in 10 s" in load(client, "./").row("smtp")


def test_while_the_broker_is_away_nobody_claims_that_nothing_is_parked(room: Room, client: TestClient) -> None:
    room.at.lots.down = True
    room.sampler.look()
    page = load(client, "./")
    assert "unknown" in page.row("smtp")
    assert "The broker did not say how many tasks are parked" in page.text


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        ("?q=SM", ["smtp"]),
        ("?state=open", ["smtp"]),
        ("?state=closed", ["crm"]),
        ("?state=parked", ["crm"]),
        ("?state=overridden", []),
        ("?q=m&state=closed", ["crm"]),
        ("?state=purple", ["smtp", "crm"]),
        ("?page=99", ["smtp", "crm"]),
        ("?page=-1", ["smtp", "crm"]),
        ("?page=%D9%A3", ["smtp", "crm"]),
        ("?q=%3Cscript%3E", []),
    ],
)
def test_it_is_filtered_by_name_and_state(room: Room, client: TestClient, query: str, shown: list[str]) -> None:
    room.at.lots.park("crm", 1)
    trip(room)
    page = load(client, f"./{query}")
    assert page.rows == shown
    assert ("No breaker fits" in page.text) is (not shown)


def test_ten_thousand_breakers_come_two_hundred_at_a_time_and_keep_the_filter() -> None:
    names = [f"webhook:{number:05}" for number in range(10_000)]
    room, client = open_room(declared=Declared(declared=dict.fromkeys(names, QUICK)))
    trip(room, "webhook:09999")
    first = load(client, "./?q=webhook")
    assert first.rows[0] == "webhook:09999"
    assert len(first.rows) == 200
    assert "page 1 of 50" in first.text
    assert first.one("a", rel="next").attributes["href"] == "./?q=webhook&page=2"
    last = load(client, "./?q=webhook&page=50")
    assert last.rows[-1] == "webhook:09998"
    assert last.all("a", rel="next") == []


def test_breakers_that_each_worker_keeps_are_named_apart() -> None:
    _, client = open_room(declared=Declared(declared={"gpu": replace(QUICK, scope="worker"), "smtp": QUICK}))
    page = load(client, "./")
    assert page.rows == ["smtp"]
    assert 'each worker keeps its own (scope="worker"): parked by gpu' in page.text
    assert "Each worker keeps this breaker for itself" in load(client, page.all("a")[-1].attributes["href"]).text
    assert load(client, "breaker?name=gpu", 409)


# --- banners ----------------------------------------------------------------------------------------------------------


def test_while_the_store_is_away_what_was_seen_stays_and_it_is_said_what_to_do(room: Room, client: TestClient) -> None:
    trip(room)
    room.at.server.down = True
    room.at.clock.advance(70)
    room.sampler.look()
    for address in ("./", "breaker?name=smtp", "workers"):
        page = load(client, address)
        assert "The store is away" in page.text
        assert "1 min 10 s ago" in page.text
        assert "celery breaker doctor" in page.text
    assert load(client, "./").rows == ["smtp", "crm"]


def test_an_open_breaker_that_nobody_probes_raises_the_alarm(room: Room, client: TestClient) -> None:
    trip(room)
    room.at.clock.advance(30 + 14)
    room.sampler.look()
    assert "Nobody tends" not in load(client, "./").text
    room.at.clock.advance(46)
    room.sampler.look()
    page = load(client, "./")
    assert "Nobody tends: smtp should have been probed" in page.text
    assert "probe overdue by 1 min" in page.row("smtp")


def worker(**values: object) -> WorkerSeen:
    known = {
        "name": "celery@a",
        "store": "redis://db",
        "connected": True,
        "view_age": 0.5,
        "agent": True,
        "tended": 1.0,
    }
    return WorkerSeen(**{**known, **values})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("seen", "said"),
    [
        ([worker()], ""),
        (None, ""),
        ([worker(tended=None)], "Nobody tends: no worker says"),
        ([worker(tended=300.0), worker(name="celery@b", tended=2.0)], ""),
        ([worker(connected=False)], "celery@a does not reach the store"),
    ],
)
def test_what_workers_say_of_themselves_is_judged(
    room: Room, client: TestClient, seen: list[WorkerSeen] | None, said: str
) -> None:
    room.at.crew.seen = seen
    room.sampler._ask()
    trip(room)
    banners = [
        element.text for element in load(client, "./").all("div") if "banner" in element.attributes.get("class", "")
    ]
    assert said in "".join(banners)
    assert len(banners) == bool(said)


def test_the_workers_page_shows_who_tends(room: Room, client: TestClient) -> None:
    room.at.crew.seen = [worker(), worker(name="celery@b", connected=False, agent=False, tended=None, view_age=None)]
    room.sampler._ask()
    room.sampler.look()
    page = load(client, "workers")
    for words in ("celery@a", "holds the lease", "1 s ago", "away: breakers of its own", "never"):
        assert words in page.text


@pytest.mark.parametrize(("seen", "said"), [(None, "Workers cannot be asked"), ([], "No worker answers")])
def test_the_workers_page_says_why_it_is_empty(room: Room, client: TestClient, seen: None, said: str) -> None:
    room.at.crew.seen = seen
    room.sampler._ask()
    room.sampler.look()
    assert said in load(client, "workers").text


# --- one breaker ------------------------------------------------------------------------------------------------------


def test_one_breaker_tells_its_story(room: Room, client: TestClient) -> None:
    succeed(room.at.registry, 2)
    trip(room)
    room.at.desk.act("smtp", actions.force(Mode.OBSERVING, by="eve", reason="to see"))
    room.at.lots.park("smtp", 3)
    room.at.desk.release("smtp", 2, by="adam")
    room.sampler.look()
    page = load(client, "breaker?name=smtp")
    for words in (
        "opened",
        "observing: admits everything",
        "2 tasks released by hand",
        "generation 1",
        "ConnectionError()",
        "mail.send",
        "in queue celery",
        "recovery_timeout",
        "Open for",
        "by eve",
        "by adam",
    ):
        assert words.lower() in page.text.lower()


def test_options_that_are_not_the_default_stand_out(client: TestClient) -> None:
    page = load(client, "breaker?name=smtp")
    own, defaults = page.all("dl", class_="options")
    assert "max_failures3" in "".join(own.text.split())
    assert "success_threshold" in defaults.text
    assert "success_threshold" not in own.text


def test_charts_say_their_figures_in_words_and_as_a_table(room: Room, client: TestClient) -> None:
    for _ in range(4):
        room.at.clock.advance(10)
        succeed(room.at.registry, 5)
        fail(room.at.registry, 1)
        room.sampler.look()
    page = load(client, "breaker?name=smtp")
    labels = [svg.attributes["aria-label"] for svg in page.all("svg", role="img")]
    assert any("failed: now" in label and "calls: now" in label for label in labels)
    [calls, _] = page.all("table", class_="figures")
    assert "failed" in calls.text


def test_one_broken_worker_shows(room: Room, client: TestClient) -> None:
    [status] = room.at.desk.statuses(["smtp"])
    room.sampler._seen = replace(
        room.sampler.seen, statuses={"smtp": replace(status, workers={"celery@good": 1, "celery@bad": 9})}
    )
    page = load(client, "breaker?name=smtp")
    assert "90% of the failures are of celery@bad: look at that worker first." in page.text


def test_after_a_trip_the_last_failures_say_which_worker_it_was(room: Room, client: TestClient) -> None:
    trip(room)
    page = load(client, "breaker?name=smtp")
    assert "Of the last failures; the window has none." in page.text
    assert page.one("table", class_="bars").text.split()[-1] == "web3"


def test_an_unknown_breaker_is_a_page_that_names_the_nearest(client: TestClient) -> None:
    page = load(client, "breaker?name=smpt", 404)
    assert "did you mean 'smtp'" in page.text
    assert page.all("a", href="/./")


@pytest.mark.parametrize(
    "address", ["breaker", "breaker?name=", "breaker?name=%00", "parked?name=%0A", "live?view=breaker"]
)
def test_what_is_no_name_is_no_mistake_of_ours(client: TestClient, address: str) -> None:
    assert 400 <= client.get(address).status_code < 500


@pytest.mark.parametrize("name", ["..", "a/b", "a?b&c=d", "100%", "ünï", "a+b", "#", "smtp; drop"])
def test_any_name_has_a_page(name: str) -> None:
    _, client = open_room(declared=Declared(declared={name: QUICK}))
    link = load(client, "./").one("tr", data_name=name)
    assert link.text.strip().startswith(name)
    [href] = [a.attributes["href"] for a in load(client, "./").all("a") if a.attributes["href"].startswith("breaker")]
    assert load(client, href).one("title").text == f"{name}: closed"


# --- parked tasks -----------------------------------------------------------------------------------------------------


def test_parked_tasks_are_paged_through(room: Room, client: TestClient) -> None:
    room.at.lots.park("smtp", 120, since=room.at.clock() - 60)
    page = load(client, "parked?name=smtp")
    assert "id-0" in page.text
    assert "id-50" not in page.text
    following = page.one("a", rel="next").attributes["href"]
    assert "id-50" in load(client, following).text
    assert "There are no more" in load(client, "parked?name=smtp&page=9").text
    assert load(client, "parked?name=smtp&page=3").all("a", rel="next") == []


def test_arguments_are_hidden_unless_they_may_be_seen(room: Room, client: TestClient) -> None:
    room.at.lots.park("smtp", 1)
    assert "('0',)" not in load(client, "parked?name=smtp").text
    other, seeing = open_room(show_args=True)
    other.at.lots.park("smtp", 1)
    assert "('0',)" in load(seeing, "parked?name=smtp").text


def test_a_broker_that_cannot_show_parked_tasks_says_so(room: Room, client: TestClient) -> None:
    room.at.lots.down = True
    assert "Cannot be shown: the broker cannot be reached: connection refused" in load(client, "parked?name=smtp").text


def test_who_has_not_logged_in_learns_nothing_from_the_refusal() -> None:
    _, client = open_room(users={"eve": "secret"})
    page = load(client, "./", 401)
    assert "log in" in page.text
    assert "memory://" not in page.html
    assert "smtp" not in page.html


# --- hostile words ----------------------------------------------------------------------------------------------------


def test_nothing_that_comes_from_elsewhere_is_obeyed() -> None:
    room, client = open_room(declared=Declared(declared={EVIL: QUICK}, guarded={EVIL: [EVIL]}), show_args=True)
    fail(room.at.registry, 3, EVIL)
    room.at.desk.act(EVIL, actions.force(Mode.FORCED_OPEN, by=EVIL + RTL, reason=EVIL + RTL))
    texts = dict.fromkeys(("id", "task", "queue", "args", "kwargs"), EVIL + RTL)
    room.at.lots.tasks[EVIL] = [ParkedTask(since=1.0, deferrals=1, **texts)]
    room.at.crew.seen = [worker(name=EVIL + RTL, store=EVIL)]
    room.sampler._ask()
    room.sampler.look()
    one = load(client, "./").all("a")[-1].attributes["href"]
    for address in ("./", one, one.replace("breaker?", "parked?"), "workers", f"./?q={EVIL}"):
        html = client.get(address).text
        assert "<script>alert" not in html
        assert "\u202e" not in html
        assert "<script>alert" in Page(html).text or address.startswith("./?")


def test_a_time_that_cannot_be_is_shown_and_not_stumbled_over(room: Room, client: TestClient) -> None:
    room.at.lots.tasks["smtp"] = [ParkedTask(id="1", task="t", queue="q", since=-1e300, deferrals=0)]
    room.sampler.look()
    load(client, "./")
    load(client, "parked?name=smtp")


# --- every page -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("address", EVERY_PAGE)
def test_no_page_has_a_script_or_a_style_of_its_own(room: Room, address: str) -> None:
    _, client = open_room(allow_actions=True)
    page = Page(client.get(address).text)
    for element in page.elements:
        assert element.tag != "style"
        assert "style" not in element.attributes
        assert not [name for name in element.attributes if name.startswith("on")]
        assert not element.attributes.get("href", "").lower().startswith("javascript:")
        if element.tag == "script":
            assert element.attributes["src"].lstrip("/").startswith("static/")
            assert element.text == ""


@pytest.mark.parametrize("address", EVERY_PAGE)
def test_every_page_has_landmarks_a_skip_link_and_names_for_its_controls(address: str) -> None:
    _, client = open_room(allow_actions=True)
    page = Page(client.get(address).text)
    assert page.one("html").attributes["lang"] == "en"
    assert page.all("a")[0].attributes["href"] == "#main"
    assert page.one("main").attributes["id"] == "main"
    assert len(page.all("h1")) == 1
    assert page.one("p", id="say").attributes["aria-live"] == "polite"
    assert all(th.attributes.get("scope") for th in page.all("th"))
    outside = re.sub(r"<label.*?</label>", "", page.html, flags=re.DOTALL)
    assert not re.findall(r"<(?:input|select)\b(?![^>]*type=\"hidden\")", outside)


@pytest.mark.parametrize("address", EVERY_PAGE)
@pytest.mark.parametrize("prefix", ["", "/ops/breakers"])
def test_links_lead_to_pages_under_any_prefix(address: str, prefix: str) -> None:
    room, client = open_room(url_prefix=prefix)
    trip(room)
    start = client.get(address)
    for element in Page(start.text).elements:
        target = element.attributes.get("href") or element.attributes.get("src")
        if target and not target.startswith("#"):
            found = client.get(str(start.url.join(target)))
            assert found.status_code == 200, (element, found.url)
            assert found.url.path.startswith(prefix)


def test_styles_know_light_and_dark_narrow_screens_and_less_motion(client: TestClient) -> None:
    css = client.get("static/breaker.css")
    assert css.headers["content-type"].startswith("text/css")
    for words in ("prefers-color-scheme: dark", "max-width: 46rem", "prefers-reduced-motion", ":focus-visible"):
        assert words in css.text
    for colour in ("red", "amber", "green", "violet", "ink", "dim", "ground", "sheet", "rule", "link"):
        assert css.text.count(f"--{colour}: ") == 2, f"--{colour} is not there for both"


def test_static_files_are_kept_by_browsers_until_they_change(client: TestClient) -> None:
    page = load(client, "./")
    address = page.one("link", rel="stylesheet").attributes["href"]
    assert "immutable" in client.get(address).headers["cache-control"]
    assert client.get("./").headers["cache-control"] == "no-store"


def test_static_files_are_only_those(client: TestClient) -> None:
    assert client.get("static/..%2ftemplating.py").status_code == 404
    assert client.get("static/nothing.js").status_code == 404


def test_without_rights_there_is_nothing_to_act_with(room: Room, client: TestClient) -> None:
    for address in ("breaker?name=smtp", "parked?name=smtp"):
        assert load(client, address).all("form") == []
    assert client.post("act", data={"name": "smtp", "action": "open"}).status_code == 403
