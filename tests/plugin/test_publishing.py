"""What becomes of a task that is published, in a process that is no worker, while its breaker is open."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from celery import Celery, chain, chord, group
from celery.bootsteps import TERMINATE
from celery.exceptions import AlwaysEagerIgnored
from celery.result import AsyncResult, EagerResult
from kombu import Exchange, Queue

from celery_breaker import Breaker, BreakerOpen, BreakerTask, ConfigurationError, Mode
from celery_breaker.core import machine
from celery_breaker.core.record import Record
from celery_breaker.engine.meters import Meter
from celery_breaker.plugin import signals
from celery_breaker.plugin.app import breakers_of
from celery_breaker.plugin.parking.lot import parking_queue
from celery_breaker.plugin.parking.note import Note
from celery_breaker.plugin.publishing import role
from tests.support.forks import in_child
from tests.support.waiting import eventually

Make = Callable[..., "Web"]


def instead(error: BreakerOpen, *args: Any, **kwargs: Any) -> tuple[str, Any, Any]:
    return error.name, args, kwargs


class Web:
    """An app on a broker in memory, whose process publishes only."""

    def __init__(self, app: Celery) -> None:
        self.app = app
        self.smtp = Breaker("smtp")

        @app.task(name="send", base=BreakerTask, breaker="smtp", shared=False)
        def send(to: str = "", body: str = "") -> None: ...

        @app.task(name="notify", base=BreakerTask, breaker="hook:{host}", shared=False)
        def notify(host: str) -> None: ...

        @app.task(name="plain", shared=False)
        def plain(*args: Any) -> None: ...

        self.send, self.notify, self.plain = send, notify, plain

    def opened(self) -> Web:
        self.smtp.open(expires=60)
        return self

    def waiting(self, queue: str = "celery") -> list[Any]:
        """Messages in a queue, taken out."""
        with self.app.connection_for_read() as connection:
            bound = Queue(queue)(connection.default_channel)
            bound.queue_declare()
            found = []
            while (message := bound.get(no_ack=True)) is not None:
                found.append(message)
            return found

    def parked(self) -> list[Any]:
        return self.waiting(parking_queue("smtp"))


@pytest.fixture
def make_web(make_app: Callable[[Mapping[str, Any]], Celery]) -> Iterator[Make]:
    made: list[Web] = []

    def make(on_publish: object = None, **conf: Any) -> Web:
        said = {} if on_publish is None else {"breaker_on_publish": on_publish}
        memory = {"broker_url": "memory://", "breaker_store": "memory://", "result_backend": "cache+memory://"}
        web = Web(make_app({**memory, "imports": [], **said, **conf}))
        made.append(web)
        return web

    yield make
    for web in made:
        for queue in ("celery", "mail", parking_queue("smtp"), parking_queue("hook:a")):
            web.waiting(queue)


# --- the three words and a callable -----------------------------------------------------------------------------------


def test_unset_a_task_is_sent_whatever_its_breaker_says(make_web: Make) -> None:
    web = make_web().opened()
    web.send.delay("you")
    assert len(web.waiting()) == 1


def test_raise_refuses_before_anything_is_published(make_web: Make) -> None:
    web = make_web("raise").opened()
    with pytest.raises(BreakerOpen, match="'smtp' is open") as refusal:
        web.send.delay("you")
    assert refusal.value.retry_after == pytest.approx(60, abs=10)
    assert web.waiting() == []


@pytest.mark.parametrize("way", ["delay", "apply_async", "signature", "send_task"])
def test_every_way_to_publish_meets_the_breaker(make_web: Make, way: str) -> None:
    web = make_web("raise").opened()
    ways: dict[str, Callable[[], object]] = {
        "delay": lambda: web.send.delay("you"),
        "apply_async": lambda: web.send.apply_async(("you",), queue="mail"),
        "signature": lambda: web.app.signature("send", ("you",)).delay(),
        "send_task": lambda: web.app.send_task("send", ("you",), None, None),
    }
    with pytest.raises(BreakerOpen):
        ways[way]()


def test_park_puts_the_message_where_a_worker_would_have(make_web: Make) -> None:
    web = make_web("park", task_routes={"send": {"queue": "mail"}}).opened()
    result = web.send.apply_async(("you",), {"body": "hello"}, task_id="mine", headers={"trace": "7"}, delivery_mode=1)
    assert (result.id, isinstance(result, AsyncResult)) == ("mine", True)
    [message] = web.parked()
    assert web.waiting("mail") == []
    note = Note.of(message.headers)
    assert (note.breaker, note.queue, note.deferrals) == ("smtp", "mail", 1)
    assert note.since == note.first == pytest.approx(breakers_of(web.app).registry.link.now(), abs=30)
    assert (message.headers["id"], message.headers["trace"]) == ("mine", "7")
    assert message.payload[:2] == [["you"], {"body": "hello"}]
    assert message.properties["delivery_mode"] == 2


def test_a_parked_message_is_released_to_its_queue(make_web: Make) -> None:
    web = make_web("park").opened()
    web.send.apply_async(("you",), queue="mail", priority=6)
    lot = breakers_of(web.app).open_lot()
    assert lot.release("smtp", 10) == 1
    lot.close()
    [message] = web.waiting("mail")
    assert (message.properties["priority"], message.delivery_info["routing_key"]) == (6, "mail")


def test_the_router_is_asked_once(make_web: Make) -> None:
    asked = []

    def route(name: str, *args: Any, **options: Any) -> dict[str, str] | None:
        asked.append(name)
        return {"queue": "mail"}

    web = make_web("park", task_routes=(route,)).opened()
    web.send.delay()
    assert asked == ["send"]
    assert Note.of(web.parked()[0].headers).queue == "mail"


def test_a_callables_value_is_the_result(make_web: Make) -> None:
    web = make_web(instead).opened()
    result = web.send.apply_async(("you",), {"body": "x"}, task_id="mine")
    assert isinstance(result, EagerResult)
    assert (result.id, result.state, result.successful()) == ("mine", "SUCCESS", True)
    assert result.get() == ("smtp", ("you",), {"body": "x"})
    assert web.waiting() == []


def test_what_a_callable_raises_reaches_the_caller(make_web: Make) -> None:
    def refuse(error: BreakerOpen, *args: Any, **kwargs: Any) -> None:
        raise LookupError("no mail today") from error

    with pytest.raises(LookupError, match="no mail today"):
        make_web(refuse).opened().send.delay("you")


def test_a_callable_can_be_named_by_its_path(make_web: Make) -> None:
    web = make_web("tests.plugin.test_publishing.instead").opened()
    assert web.send.delay("you").get() == ("smtp", ("you",), {})


# --- whose word counts ------------------------------------------------------------------------------------------------


def test_a_tasks_word_goes_over_the_apps(make_web: Make) -> None:
    web = make_web("park")

    @web.app.task(name="urgent", base=BreakerTask, breaker="smtp", breaker_on_publish="raise", shared=False)
    def urgent() -> None: ...

    @web.app.task(name="sent", base=BreakerTask, breaker="smtp", breaker_on_publish="send", shared=False)
    def sent() -> None: ...

    @web.app.task(name="replaced", base=BreakerTask, breaker="smtp", breaker_on_publish=instead, shared=False)
    def replaced(number: int) -> None: ...

    web.opened()
    with pytest.raises(BreakerOpen):
        urgent.delay()
    assert replaced.delay(1).get() == ("smtp", (1,), {})
    sent.delay()
    assert len(web.waiting()) == 1


def test_a_class_gives_its_callable_as_a_static_method(make_web: Make) -> None:
    web = make_web()

    class Careful(BreakerTask):
        abstract = True
        breaker_on_publish = staticmethod(instead)

    @web.app.task(name="careful", base=Careful, breaker="smtp", shared=False)
    def careful(number: int) -> None: ...

    web.opened()
    assert careful.delay(1).get() == ("smtp", (1,), {})


def test_a_task_that_comes_after_the_first_publish_obeys_too(make_web: Make) -> None:
    web = make_web("raise")
    web.send.delay()

    @web.app.task(name="late", base=BreakerTask, breaker="smtp", shared=False)
    def late() -> None: ...

    web.opened()
    with pytest.raises(BreakerOpen):
        late.delay()


def test_tasks_attached_by_the_settings_obey(make_web: Make) -> None:
    web = make_web(
        breakers={"smtp": {"tasks": ["pl*", "elsewhere.*"]}},
        task_annotations={"plain": {"breaker_on_publish": "raise"}},
    ).opened()
    with pytest.raises(BreakerOpen):
        web.plain.delay()
    web.app.send_task("elsewhere.mail")  # its own code might say otherwise, and the app says nothing
    assert len(web.waiting()) == 1


def test_a_task_that_only_others_know_is_attached_by_its_name(make_web: Make) -> None:
    web = make_web("raise", breakers={"smtp": {"tasks": ["elsewhere.*"]}}).opened()
    with pytest.raises(BreakerOpen):
        web.app.send_task("elsewhere.mail", ("you",))
    web.app.send_task("other.mail")
    assert len(web.waiting()) == 1


def test_names_from_arguments_lead_to_one_breaker_each(make_web: Make) -> None:
    web = make_web("raise")
    Breaker("hook:a").open(expires=60)
    with pytest.raises(BreakerOpen, match="hook:a"):
        web.notify.delay("a")
    web.notify.delay(host="b")
    web.app.send_task("notify")  # makes no name: the worker says so
    assert len(web.waiting()) == 2


# --- what is sent all the same ----------------------------------------------------------------------------------------


def test_closed_half_open_and_due_breakers_admit(make_web: Make) -> None:
    web = make_web("raise", breakers={"smtp": {"max_failures": 1, "recovery_timeout": 0.001}})
    web.send.delay()
    with pytest.raises(OSError, match="down"):
        web.smtp.call(_down)
    registry = breakers_of(web.app).registry
    registry.work()
    assert registry.cell("smtp").record.state == "open"
    eventually(lambda: web.smtp.retry_after == 0, "it should be due")
    web.send.delay()
    assert len(web.waiting()) == 2


def _down() -> None:
    raise OSError("down")


@pytest.mark.parametrize("on_publish", ["raise", "park", instead])
def test_a_call_for_later_is_sent(make_web: Make, on_publish: object) -> None:
    web = make_web(on_publish).opened()
    web.send.apply_async(countdown=60)
    web.send.apply_async(eta=datetime.now(timezone.utc) + timedelta(hours=1))
    assert len(web.waiting()) == 2


@pytest.mark.parametrize("option", ["expires", "expiration"])
def test_an_expiring_task_is_not_parked_here_but_may_be_refused(make_web: Make, option: str) -> None:
    web = make_web("park").opened()
    web.send.apply_async(**{option: 60})
    assert (len(web.waiting()), web.parked()) == (1, [])
    with pytest.raises(BreakerOpen):
        make_web("raise").opened().send.apply_async(expires=60)


def test_what_would_not_go_straight_to_one_queue_is_sent(make_web: Make) -> None:
    fan = Queue("fan", Exchange("fan", type="fanout"))
    web = make_web("park", task_queues=[fan, Queue("celery")]).opened()
    web.send.apply_async(queue="fan")
    web.send.apply_async(exchange="theirs", routing_key="x")
    assert web.parked() == []
    assert len(web.waiting("fan")) == 1


def test_a_message_for_another_broker_is_not_parked(make_web: Make) -> None:
    web = make_web("park").opened()
    with web.app.connection("memory://elsewhere") as connection:
        web.send.apply_async(connection=connection)
        web.send.apply_async(producer=web.app.amqp.Producer(connection))
    assert web.parked() == []
    with web.app.producer_or_acquire() as producer:
        web.send.apply_async(producer=producer)
    assert len(web.parked()) == 1


def test_what_a_running_task_publishes_is_sent(make_web: Make) -> None:
    web = make_web("raise").opened()

    @web.app.task(name="starts", shared=False)
    def starts() -> None:
        web.send.delay()

    starts.apply(throw=True)
    assert len(web.waiting()) == 1


@pytest.mark.parametrize("works", [True, False])
def test_what_a_worker_or_beat_publishes_is_sent(make_web: Make, monkeypatch: pytest.MonkeyPatch, works: bool) -> None:
    web = make_web("park").opened()
    monkeypatch.setattr(role, "_works", works)
    web.send.delay()
    assert (len(web.waiting()), len(web.parked())) == ((1, 0) if works else (0, 1))


def test_a_worker_of_somebody_s_tests_is_one_until_it_has_ended() -> None:
    class Worker:
        blueprint: Any = None

    worker = Worker()
    role._worker_begins(worker)
    role._begin()  # its solo pool
    assert role.works()
    worker.blueprint = type("Ended", (), {"state": TERMINATE})
    assert not role.works(), "or else what is published from now on would not be looked at"
    role._worker_ends(worker)


def test_eager_tasks_are_never_touched(make_web: Make) -> None:
    web = make_web("raise", task_always_eager=True).opened()
    assert web.send.delay().successful()
    with pytest.warns(AlwaysEagerIgnored):
        web.app.send_task("send")
    assert len(web.waiting()) == 1


# --- canvas -----------------------------------------------------------------------------------------------------------


def test_of_a_chain_only_the_first_step_counts(make_web: Make) -> None:
    web = make_web("raise").opened()
    with pytest.raises(BreakerOpen):
        chain(web.send.si(), web.plain.si()).delay()
    assert web.waiting() == []
    chain(web.plain.si(), web.send.si()).delay()
    assert len(web.waiting()) == 1


def test_a_chain_is_parked_with_all_its_steps(make_web: Make) -> None:
    web = make_web("park").opened()
    chain(web.send.si(), web.plain.si()).delay()
    [message] = web.parked()
    assert [step["task"] for step in message.payload[2]["chain"]] == ["plain"]


def test_no_part_of_a_group_is_refused_so_that_none_is_left_half_published(make_web: Make) -> None:
    web = make_web("raise").opened()
    parts = [web.plain.si(), web.send.si(), chain(web.send.si(), web.plain.si())]
    group(parts).delay()
    assert len(web.waiting()) == 3
    chord(parts)(web.plain.si())
    assert sorted(message.headers["task"] for message in web.waiting())[-3:] == ["plain", "send", "send"]


def test_each_part_of_a_group_is_parked_for_itself(make_web: Make) -> None:
    web = make_web("park").opened()
    result = group(web.plain.si(), web.send.si()).delay()
    [message] = web.parked()
    assert message.headers["group"] == result.id
    assert len(web.waiting()) == 1


@pytest.mark.parametrize("canvas", ["chain", "group", "link"])
def test_a_callable_does_not_stand_in_where_others_wait_for_the_result(make_web: Make, canvas: str) -> None:
    web = make_web(instead).opened()
    {
        "chain": lambda: chain(web.send.si(), web.plain.s()).delay(),
        "group": lambda: group(web.send.si()).delay(),
        "link": lambda: web.send.apply_async(link=web.plain.s()),
    }[canvas]()
    assert len(web.waiting()) == 1


# --- what is told -----------------------------------------------------------------------------------------------------


def test_parking_and_falling_back_are_told_by_signal_and_meter(make_web: Make) -> None:
    web = make_web("park").opened()
    told: list[dict[str, Any]] = []
    measured: list[tuple[str, str]] = []

    def hear(**fields: Any) -> None:
        told.append(fields)

    class Measure(Meter):
        def deferred(self, name: str, action: str) -> None:
            measured.append((name, action))

    signals.task_deferred.connect(hear, sender=web.app)
    breakers_of(web.app).registry.meters.add(Measure())
    try:
        web.send.apply_async(task_id="mine")
    finally:
        signals.task_deferred.disconnect(hear, sender=web.app)
    assert measured == [("smtp", "park")]
    [fields] = told
    assert (fields["name"], fields["task_name"], fields["task_id"]) == ("smtp", "send", "mine")
    assert (fields["action"], fields["deferrals"]) == ("park", 1)


# --- life of a process ------------------------------------------------------------------------------------------------


def test_the_view_is_kept_fresh_from_the_first_publish_on(make_web: Make) -> None:
    web = make_web("raise")
    web.send.delay()
    assert breakers_of(web.app).registry.reporter.running


def test_a_forked_web_process_follows_the_breaker_anew(make_web: Make) -> None:
    web = make_web("raise", breaker_refresh_interval=0.05)
    web.send.delay()

    def child() -> bool:
        web.send.delay()
        return breakers_of(web.app).registry.reporter.running

    assert in_child(child) == "True"


def test_settings_are_read_anew_after_they_were_dropped(make_web: Make) -> None:
    web = make_web().opened()
    web.send.delay()
    web.app.conf.breaker_on_publish = "raise"
    breakers_of(web.app).forget()
    web.opened()
    with pytest.raises(BreakerOpen):
        web.send.delay()


def test_an_apps_own_way_of_publishing_stays_in_front(make_web: Make) -> None:
    seen = []

    class Mine(Celery):
        def send_task(self, name: str, *args: Any, **options: Any) -> Any:
            seen.append(name)
            return super().send_task(name, *args, **options)

    app = Mine("mine", broker="memory://", set_as_current=False)
    app.conf.update(breaker_store="memory://", breaker_on_publish="raise", breakers={"smtp": {"tasks": ["mail"]}})
    breakers_of(app).registry.change(breakers_of(app).registry.cell("smtp"), _force_open)
    with pytest.raises(BreakerOpen):
        app.send_task("mail")
    breakers_of(app).forget()
    assert seen == ["mail"]


def _force_open(record: Record, now: float) -> Record:
    return machine.override(record, Mode.FORCED_OPEN, now=now)


def test_a_publish_that_needs_no_breaker_leaves_the_app_as_it_was(make_web: Make) -> None:
    web = make_web()
    web.send.delay()
    web.app.send_task("elsewhere")
    assert not web.app.finalized  # type: ignore[attr-defined]
    assert len(web.waiting()) == 2


# --- bad input --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ("prak", "breaker_on_publish='prak' is unknown; did you mean 'park'?"),
        (7, "breaker_on_publish=7 is neither one of send, raise, park nor callable"),
        ("no.such.thing", "breaker_on_publish='no.such.thing' cannot be imported"),
        ("tests.plugin.test_publishing.__name__", "is not callable"),
    ],
)
def test_a_wrong_word_is_told_at_the_first_publish(make_web: Make, value: object, sentence: str) -> None:
    with pytest.raises(ConfigurationError, match=sentence.replace("?", r"\?")):
        make_web(value).send.delay()


def test_a_tasks_wrong_word_is_told_with_its_name(make_web: Make) -> None:
    web = make_web()

    @web.app.task(name="typo", base=BreakerTask, breaker="smtp", breaker_on_publish="rasie", shared=False)
    def typo() -> None: ...

    with pytest.raises(
        ConfigurationError, match="task typo: breaker_on_publish='rasie' is unknown; did you mean 'raise'"
    ):
        typo.delay()
