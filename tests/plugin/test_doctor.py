"""What `celery breaker doctor` finds, check by check: each finding is shown to appear, and to stay away."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from celery.bin.base import CLIContext
from click.testing import Result

from celery_breaker.core.policy import Policy
from celery_breaker.core.record import Record, State
from celery_breaker.plugin.app import breakers_of
from celery_breaker.plugin.cli import breaker
from celery_breaker.plugin.cli import doctor as cli_doctor
from celery_breaker.plugin.doctor import examine as doctor
from celery_breaker.plugin.doctor.case import (
    BrokerFacts,
    Facts,
    Finding,
    QueueFacts,
    Severity,
    StoreFacts,
    TaskFacts,
    WorkerFacts,
    some,
)
from celery_breaker.stores.url import open_store
from tests.support.commands import runner
from tests.support.processes import free_port
from tests.support.servers import RedisServer

STORE = StoreFacts(url="redis://db:6379/0", kind="redis", why="the broker is Redis", round_trip=0.001, skew=0.0)
BROKER = BrokerFacts(url="redis://db:6379/0", transport="redis", visibility=3600.0)
SOUND = Facts(
    store=STORE,
    broker=BROKER,
    policies={"smtp": Policy()},
    set_up=("smtp",),
    tasks=(TaskFacts(name="mail.send", breakers=("smtp",), time_limit=60.0, longest_delay=180.0, acks_late=True),),
    workers=(WorkerFacts("a@x", 0.01), WorkerFacts("b@x")),
    result_expires=86_400.0,
)
"""An app of which there is nothing to say."""


def with_store(**changes: Any) -> Facts:
    return replace(SOUND, store=replace(STORE, **changes))


def with_broker(**changes: Any) -> Facts:
    return replace(SOUND, broker=replace(BROKER, **changes))


def with_task(facts: Facts = SOUND, **changes: Any) -> Facts:
    return replace(facts, tasks=tuple(replace(task, **changes) for task in facts.tasks))


def with_policy(facts: Facts = SOUND, **options: Any) -> Facts:
    return replace(facts, policies={"smtp": Policy(**options)})


def message(**changes: Any) -> Facts:
    return with_store(kind="message", url="message://", **changes)


RABBIT = replace(SOUND, broker=BrokerFacts(url="amqp://mq", transport="amqp"))
QUORUM = replace(RABBIT, queues=(QueueFacts(name="celery", quorum=True),))
NOBODY = replace(SOUND, workers=())
P, H = Severity.PROBLEM, Severity.HINT

FINDINGS: dict[str, tuple[str, Severity, Facts, Facts]] = {
    # name of the case: (check, severity, where it appears, the nearest where it does not)
    "store away": ("store", P, with_store(error="refused", away=True), with_store()),
    "store wrong": ("store", P, with_store(error="no such scheme"), with_store()),
    "nobody on the bus": ("store", P, message(error="no answer"), replace(message(error="no answer"), workers=())),
    "unmigrated": ("migrations", P, with_store(error="no table; run `manage.py migrate`"), with_store(error="down")),
    "slow store": ("store-speed", H, with_store(round_trip=0.26), with_store(round_trip=0.24)),
    "memory, two workers": (
        *("store-shared", P, with_store(kind="memory")),
        replace(with_store(kind="memory"), workers=(WorkerFacts("a@x"),)),
    ),
    "memory, who knows": ("store-shared", H, replace(with_store(kind="memory"), workers=None), SOUND),
    "message, alone": ("store-shared", P, message(shared=False, why="no fanout"), message()),
    "file for all": ("store-open", P, with_store(writable_file="/data/b.db"), with_store()),
    "no password": (
        *("store-open", H, with_store(remote=True, protected=False)),
        with_store(remote=True, protected=True),
    ),
    "no password, here": ("store-open", H, with_store(remote=True, protected=False), with_store(protected=False)),
    "store's clock": ("store-clock", H, with_store(skew=-1.5), with_store(skew=-0.5)),
    "no clock of its own": ("store-clock", H, with_store(skew=9.0), message(skew=9.0)),
    "worker's clock": (
        *("worker-clock", H, replace(SOUND, workers=(WorkerFacts("a@x", -5.0),))),
        replace(SOUND, workers=(WorkerFacts("a@x", -0.5), WorkerFacts("b@x"))),
    ),
    "worker's clock counts": (
        *("worker-clock", P, replace(message(), workers=(WorkerFacts("a@x", 5.0),))),
        message(),
    ),
    "strangers": ("strangers", H, with_store(strangers=("theirs",)), with_store()),
    "broker away": ("broker", P, with_broker(error="refused"), SOUND),
    "parking refused": ("parking-queue", P, with_broker(parking={"q": "ACCESS_REFUSED"}), SOUND),
    "parking taken": ("parking-queue", P, with_broker(parking={"q": "PRECONDITION_FAILED - type"}), SOUND),
    "quorum, parked": ("quorum-queues", H, QUORUM, replace(QUORUM, queues=(QueueFacts(name="celery"),))),
    "quorum, parks nothing": ("quorum-queues", H, QUORUM, with_policy(QUORUM, on_open="fail")),
    "quorum, failures parked": (
        *("quorum-queues", H, with_policy(QUORUM, on_open="fail", defer_failures=True)),
        with_policy(QUORUM, on_open="fail"),
    ),
    "quorum, unnoticed": (
        "quorum-queues",
        P,
        replace(QUORUM, detects_quorum=False),
        replace(RABBIT, detects_quorum=False),
    ),
    "quorum, retried": (
        *("quorum-queues", P, with_policy(QUORUM, on_open="retry")),
        with_policy(RABBIT, on_open="retry"),
    ),
    "delivery limit": (
        *("delivery-limit", H, replace(QUORUM, queues=(QueueFacts(name="celery", delivery_limit=5),))),
        replace(QUORUM, queues=(QueueFacts(name="celery", delivery_limit=5, dead_letters=True),)),
    ),
    "no delivery limit": (
        *("delivery-limit", H, replace(QUORUM, queues=(QueueFacts(name="celery", delivery_limit=0),))),
        replace(QUORUM, queues=(QueueFacts(name="celery", delivery_limit=-1),)),
    ),
    "quorum, paused": ("quorum-queues", H, with_policy(QUORUM, on_open="pause"), with_policy(RABBIT, on_open="pause")),
    "queue not to pause": ("paused-queues", P, replace(SOUND, pause_error="it would stop a; route it"), SOUND),
    "bad worker": (
        *("bad-worker", H, with_policy(scope="worker")),
        with_policy(scope="worker", on_open="pause"),
    ),
    "nobody online": ("workers", H, NOBODY, replace(SOUND, workers=None)),
    "nobody, but no broker": ("workers", H, NOBODY, replace(NOBODY, broker=replace(BROKER, error="refused"))),
    "nobody tends": ("tending", P, replace(SOUND, overdue={"smtp": 99.0}), SOUND),
    "acked late": ("late-acknowledgement", P, with_task(time_limit=3600.0), with_task(time_limit=3599.0)),
    "acked early": (
        "late-acknowledgement",
        P,
        with_task(time_limit=3600.0),
        with_task(time_limit=3600.0, acks_late=False),
    ),
    "acked by AMQP": ("late-acknowledgement", P, with_task(time_limit=3600.0), with_task(RABBIT, time_limit=3600.0)),
    "no limit": ("late-acknowledgement", H, with_task(time_limit=None), with_task(time_limit=None, acks_late=False)),
    "long retry": ("retry-delay", P, with_task(longest_delay=3600.0), with_task(longest_delay=3599.0)),
    "long retry on AMQP": ("retry-delay", P, with_task(longest_delay=3600.0), with_task(RABBIT, longest_delay=3600.0)),
    "prefetched": ("prefetched", H, with_task(time_limit=900.0), with_task(time_limit=899.0)),
    "prefetched one": (
        *("prefetched", H, with_task(time_limit=900.0)),
        with_task(replace(SOUND, prefetch_multiplier=1), time_limit=900.0),
    ),
    "no prefetch limit": ("unlimited-prefetch", H, replace(SOUND, prefetch_multiplier=0), SOUND),
    "consumer timeout": (
        "consumer-timeout",
        H,
        with_task(RABBIT, time_limit=1800.0),
        with_task(RABBIT, time_limit=1799.0),
    ),
    "consumer timeout of an ETA": (
        *("consumer-timeout", H, with_task(RABBIT, longest_delay=1800.0)),
        with_task(longest_delay=1800.0),
    ),
    "retried too soon": (
        *("retried-deferral", H, with_policy(on_open="retry", recovery_timeout=901.0, max_recovery_timeout=901.0)),
        with_policy(on_open="retry", recovery_timeout=900.0),
    ),
    "retried, short visibility": (
        *("retried-deferral", H, with_policy(with_broker(visibility=50.0), on_open="retry")),
        with_policy(with_broker(visibility=60.0), on_open="retry"),
    ),
    "results expire": ("results-expire", P, replace(SOUND, result_expires=900.0), replace(SOUND, result_expires=901.0)),
    "results expire, aged": (
        *("results-expire", P, with_policy(max_deferral_age=90_000)),
        with_policy(max_deferral_age=3600),
    ),
    "no results": (
        *("results-expire", P, replace(SOUND, result_expires=60.0)),
        with_task(replace(SOUND, result_expires=60.0), keeps_result=False),
    ),
    "results for ever": ("results-expire", P, replace(SOUND, result_expires=60.0), replace(SOUND, result_expires=None)),
    "nothing deferred": (
        *("results-expire", P, replace(SOUND, result_expires=60.0)),
        with_policy(replace(SOUND, result_expires=60.0), on_open="fail"),
    ),
    "only retries deferred": (
        *("results-expire", P, with_policy(replace(SOUND, result_expires=60.0), on_open="fail", retry_budget=0.1)),
        with_policy(replace(SOUND, result_expires=60.0), on_open="fail"),
    ),
    "too young to wait": ("deferral-age", P, with_policy(max_deferral_age=30), with_policy(max_deferral_age=31)),
    "short probe": ("probe-timeout", H, with_policy(probe_timeout=59), with_policy(probe_timeout=60)),
    "never slow": ("slow-calls", H, with_policy(slow_call_duration=60), with_policy(slow_call_duration=59)),
    "slow without a limit": (
        *("slow-calls", H, with_policy(slow_call_duration=60)),
        with_task(with_policy(slow_call_duration=60), time_limit=None),
    ),
    "all ignored": (
        *("never-trips", P, with_policy(failures=[OSError], ignore=[Exception])),
        with_policy(failures=[OSError, KeyError], ignore=[OSError]),
    ),
    "all ignored by name": (
        *("never-trips", P, with_policy(failures=["shop.Down"], ignore=["shop.Down"])),
        with_policy(failures=["shop.Down"], ignore=["shop.Up"]),
    ),
    "ignored, but judged": (
        *("never-trips", P, with_policy(failures=(), ignore=())),
        with_policy(failures=(), classify=lambda exc, result: "failure"),
    ),
    "ignored, but slow": ("never-trips", P, with_policy(failures=()), with_policy(failures=(), slow_call_duration=5)),
    "few workers": ("min-workers", P, with_policy(min_workers=3), with_policy(min_workers=2)),
    "unknown workers": (
        *("min-workers", P, with_policy(min_workers=3)),
        with_policy(replace(SOUND, workers=None), min_workers=3),
    ),
    "alone with messages": ("min-workers", P, with_policy(message(), min_workers=2), with_policy(message())),
    "one failure": ("trips-at-once", H, with_policy(max_failures=1), with_policy(max_failures=2)),
    "one in a row": ("trips-at-once", H, with_policy(consecutive_failures=1), with_policy(consecutive_failures=2)),
    "one each of two": ("trips-at-once", H, with_policy(max_failures=1), with_policy(max_failures=1, min_workers=2)),
    "all must fail": ("needs-all-to-fail", H, with_policy(failure_rate=1), with_policy(failure_rate=0.99)),
    "all or some in a row": (
        *("needs-all-to-fail", H, with_policy(failure_rate=1)),
        with_policy(failure_rate=1, consecutive_failures=5),
    ),
    "unused": ("unused-breaker", H, replace(SOUND, set_up=("smtp", "crm")), SOUND),
}


def found(facts: Facts, check: str, severity: Severity) -> list[Finding]:
    return [finding for finding in doctor.examine(facts) if (finding.check, finding.severity) == (check, severity)]


@pytest.mark.parametrize("case", FINDINGS)
def test_a_finding_appears_where_it_should_and_nowhere_near(case: str) -> None:
    check, severity, ill, well = FINDINGS[case]
    [finding] = found(ill, check, severity)
    assert not found(well, check, severity)
    assert finding.says
    assert finding.cure
    assert "\n" not in finding.says + finding.cure
    assert not finding.cure.endswith(".")


def test_a_sound_app_is_left_alone() -> None:
    assert doctor.examine(SOUND) == []
    assert doctor.examine(replace(RABBIT, workers=None)) == []
    assert doctor.examine(message()) == []


def test_every_check_has_been_seen_to_find_something() -> None:
    seen = {check for check in doctor.CHECKS for _, _, ill, _ in FINDINGS.values() if list(check(ill))}
    assert seen == set(doctor.CHECKS)


def test_problems_come_before_hints() -> None:
    facts = replace(with_broker(error="refused"), prefetch_multiplier=0, overdue={"smtp": 99.0})
    severities = [finding.severity for finding in doctor.examine(facts)]
    assert severities == sorted(severities, key=[P, H].index)
    assert set(severities) == {P, H}


def test_a_breaker_that_no_task_is_behind_may_be_a_slip_of_the_pen() -> None:
    [finding] = found(replace(SOUND, set_up=("smpt",)), "unused-breaker", H)
    assert "did you mean 'smtp'" in finding.cure


def test_of_many_names_a_few_are_told() -> None:
    tasks = tuple(TaskFacts(name=f"t{number}", time_limit=7200.0, acks_late=True) for number in range(5))
    [finding] = found(replace(SOUND, tasks=tasks), "late-acknowledgement", P)
    assert finding.says.startswith("t0, t1, t2 and 2 more: ")
    assert some(["a"]) == "a"


# --- the exit code ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("facts", "strict", "code"),
    [
        (SOUND, True, 0),
        (NOBODY, False, 0),
        (NOBODY, True, 1),
        (with_task(time_limit=7200.0), False, 1),
        (with_store(error="no such scheme"), False, 1),
        (with_store(error="refused", away=True), False, 4),
        (with_broker(error="refused"), False, 4),
    ],
)
def test_the_exit_code_says_whether_to_go_on(facts: Facts, strict: bool, code: int) -> None:
    assert cli_doctor.exit_code(facts, doctor.examine(facts), strict=strict) == code


# --- the documentation ------------------------------------------------------------------------------------------------

DOCS = Path(__file__).parents[2] / "docs"

SAMPLE = Facts(
    store=replace(STORE, round_trip=0.0004, remote=True, protected=False),
    broker=BROKER,
    policies={"smtp": Policy(), "crm": Policy()},
    set_up=("smtp", "crm"),
    tasks=(
        TaskFacts(name="mail.send", breakers=("smtp",), time_limit=60.0, acks_late=True),
        TaskFacts(name="crm.export", breakers=("crm",), time_limit=7200.0, acks_late=True),
    ),
    workers=(WorkerFacts("celery@a", 0.0), WorkerFacts("celery@b", 0.0)),
    result_expires=86_400.0,
)


def test_the_documentation_shows_what_is_printed() -> None:
    printed = "\n".join(cli_doctor.lines(SAMPLE, doctor.examine(SAMPLE)))
    assert f"$ celery -A proj breaker doctor\n{printed}\n```" in (DOCS / "cli.md").read_text()


def test_the_documentation_lists_every_check() -> None:
    table = (DOCS / "stores.md").read_text().partition("| check | finds |")[2].partition("\n\n")[0]
    listed = set(re.findall(r"`([a-z-]+)`", "".join(row.split(" | ")[0] for row in table.splitlines())))
    assert listed == {check for check, *_ in FINDINGS.values()}


# --- the command ------------------------------------------------------------------------------------------------------

Run = Callable[..., Result]


@pytest.fixture
def run(make_app: Callable[..., Celery], redis_server: RedisServer) -> Run:
    """`run("--json", **conf)` → `celery breaker doctor` on an app with one breaker, whose broker is Redis."""

    def run(*args: str, tasks: Mapping[str, Any] | None = None, **conf: Any) -> Result:
        with redis_server.client(4) as client:
            client.flushdb()
        before = {
            "broker_url": redis_server.url_for(4),
            "broker_connection_timeout": 0.5,
            "breakers": {"smtp": {"tasks": ["tests.*"]}},
        }
        app = make_app({**before, **conf})
        context = CLIContext(app=app, no_color=False, workdir=None)
        return runner().invoke(breaker, ["doctor", "--wait", "0.2", *args], obj=context, catch_exceptions=False)

    return run


def test_it_says_which_store_and_why(run: Run, redis_server: RedisServer) -> None:
    done = run()
    assert done.stdout.startswith(f"store     {redis_server.url_for(4)}, ")
    assert "ms away (the broker is Redis)" in done.stdout
    assert "\nworkers   0 online\nbreakers  smtp" in done.stdout
    assert "hint      workers: no worker answers" in done.stdout


def test_as_json_it_is_one_document(run: Run) -> None:
    done = run("--json")
    said = json.loads(done.stdout)
    assert said["store"]["kind"] == "redis"
    assert 0 < said["store"]["round_trip"] < 1
    assert abs(said["store"]["skew"]) < 1
    assert said["workers"] == {}
    assert "workers" in [finding["check"] for finding in said["findings"] if finding["severity"] == "hint"]
    assert said["problems"] + said["hints"] == len(said["findings"])


def test_a_setting_that_cannot_work_is_one_sentence(run: Run) -> None:
    done = run(breakers={"smtp": {"max_failure": 3}})
    assert done.exit_code == 1
    assert done.stderr == "Error: breaker 'smtp': unknown option 'max_failure'; did you mean 'max_failures'?\n"


def test_a_store_that_is_down_does_not_end_the_checks(run: Run) -> None:
    done = run(breaker_store=f"redis://127.0.0.1:{free_port()}", worker_prefetch_multiplier=0)
    assert done.exit_code == 4
    assert "problem   store: " in done.stdout
    assert "hint      unlimited-prefetch: " in done.stdout


def test_a_broker_that_is_down_does_not_end_the_checks(run: Run, redis_server: RedisServer) -> None:
    port = free_port()
    done = run(
        broker_url=f"redis://127.0.0.1:{port}", breaker_store=redis_server.url_for(4), worker_prefetch_multiplier=0
    )
    assert done.exit_code == 4
    assert "problem   broker: the broker cannot be reached" in done.stdout
    assert "workers   unknown" in done.stdout
    assert "hint      unlimited-prefetch: " in done.stdout


def test_tasks_are_read_with_their_options(run: Run) -> None:
    done = run(task_acks_late=True, task_time_limit=7200, broker_transport_options={"visibility_timeout": 600})
    assert done.exit_code == 1
    assert "problem   late-acknowledgement: " in done.stdout
    assert "a time_limit of up to 2 h" in done.stdout
    assert "after 10 min" in done.stdout


def test_a_parking_queue_that_is_none_is_found(run: Run, redis_server: RedisServer) -> None:
    with redis_server.client(5) as client:
        client.flushdb()
        client.set("celery_breaker.parked.smtp", "mine")
    done = run(broker_url=redis_server.url_for(5))
    assert "problem   parking-queue: tasks cannot be parked in celery_breaker.parked.smtp: " in done.stdout
    assert "WRONGTYPE" in done.stdout


def test_strangers_and_what_nobody_tends_are_found_in_the_store(run: Run, redis_server: RedisServer) -> None:
    url = redis_server.url_for(6)
    with redis_server.client(6) as client:
        client.flushdb()
    store = open_store(url)
    late = store.now() - 100
    assert store.swap(Record(name="smtp", state=State.OPEN, generation=1, since=late, until=late), expected=0)
    assert store.swap(Record(name="theirs"), expected=0)
    found = {finding["check"]: finding for finding in json.loads(run("--json", breaker_store=url).stdout)["findings"]}
    assert "'smtp' should have been probed up to 1 min 40 s ago" in found["tending"]["says"]
    assert "'theirs'" in found["strangers"]["says"]
    assert "smtp" not in found["strangers"]["says"]


@pytest.mark.parametrize("left", [30.0, -5.0])
def test_a_breaker_that_is_open_and_in_time_or_hardly_late_is_tended(
    run: Run, redis_server: RedisServer, left: float
) -> None:
    url = redis_server.url_for(6)
    with redis_server.client(6) as client:
        client.flushdb()
    store = open_store(url)
    assert store.swap(Record(name="smtp", state=State.OPEN, generation=1, until=store.now() + left), expected=0)
    assert "tending" not in run(breaker_store=url).stdout


def test_a_database_file_that_anybody_may_write_to_is_found(run: Run, tmp_path: Any) -> None:
    path = tmp_path / "breakers.db"
    path.touch()
    path.chmod(0o666)
    assert f"every user of this machine can write to {path}" in run(breaker_store=f"sqlite:///{path}").stdout
    path.chmod(0o644)
    assert "store-open" not in run(breaker_store=f"sqlite:///{path}").stdout


def test_it_leaves_the_store_and_the_broker_as_they_were(run: Run, redis_server: RedisServer) -> None:
    run()
    with redis_server.client(4) as client:
        left = [key for key in client.scan_iter() if b"celery_breaker" in key or b"celery-breaker" in key]
    assert left == []


@pytest.mark.parametrize("args", [(), ("--json",)])
@pytest.mark.parametrize(
    "conf",
    [
        {"breaker_store": "redis://u:hun%40ter2@127.0.0.1:{port}/0"},
        {"breaker_store": "redis://127.0.0.1:{port}/0?password=hun%40ter2"},
        {"breaker_store": "redis://u:hun%40ter2@127.0.0.1:port/0"},
        {"breaker_store": "redis://u:hun@ter2@127.0.0.1:{port}/0"},
        {"breaker_store": "reddis://u:hun%40ter2@127.0.0.1"},
        {"breaker_store": "postgresql+psycopg://u:hun%40ter2@127.0.0.1:{port}/x"},
        {"breaker_store": "memcached://u:hun%40ter2@127.0.0.1:{port}"},
        {"breaker_store": "sentinel://127.0.0.1:{port}", "breaker_store_options": {"password": "hun@ter2"}},
        {"broker_url": "redis://u:hun%40ter2@127.0.0.1:{port}/0"},
        {"broker_url": "sentinel://:hun%40ter2@127.0.0.1:{port};sentinel://:hun%40ter2@127.0.0.1:1"},
        {
            "broker_url": "amqp://u:hun%40ter2@127.0.0.1:{port}//",
            "result_backend": "redis://:hun%40ter2@127.0.0.1:{port}",
        },
        {"result_backend": "db+mysql+pymysql://u:hun%40ter2@127.0.0.1:{port}/x", "broker_url": "memory://"},
    ],
)
def test_no_password_is_printed_or_logged(
    run: Run, args: tuple[str, ...], conf: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    port = str(free_port())
    conf = {key: value.replace("{port}", port) if isinstance(value, str) else value for key, value in conf.items()}
    done = run(*args, **conf)
    assert done.exit_code in (1, 4)
    for spelling in ("hun%40ter2", "hun@ter2", "ter2"):
        assert spelling not in done.stdout + done.stderr + caplog.text


@pytest.mark.parametrize("command", [("list",), ("status", "smtp"), ("release", "smtp"), ("open", "smtp")])
@pytest.mark.parametrize(
    "url", ["redis://u:hun%40ter2@127.0.0.1:1/0", "redis://u:hun%40ter2@127.0.0.1:port/0", "memory://u:hun%40ter2@x"]
)
def test_no_password_comes_out_of_the_other_commands(
    make_app: Callable[..., Celery], command: tuple[str, ...], url: str, caplog: pytest.LogCaptureFixture
) -> None:
    broker = "redis://u:hun%40ter2@127.0.0.1:1/0"
    app = make_app(
        {"broker_url": broker, "broker_connection_timeout": 0.2, "breakers": {"smtp": {}}, "breaker_store": url}
    )
    breakers_of(app).forget()
    done = runner().invoke(breaker, command, obj=CLIContext(app=app, no_color=False, workdir=None))
    assert done.exit_code in (1, 4)
    assert done.stderr.startswith("Error: ")
    for spelling in ("hun%40ter2", "hun@ter2", "ter2"):
        assert spelling not in done.stdout + done.stderr + caplog.text
