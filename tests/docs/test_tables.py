"""The tables of the reference list what there is, with the defaults that hold."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import re
from importlib import metadata

import click
from celery import Celery
from starlette.routing import Mount, Route

from celery_breaker import BreakerTask
from celery_breaker.core.policy import ON_OPEN, Policy
from celery_breaker.core.record import Mode
from celery_breaker.plugin import maintenance, signals
from celery_breaker.plugin.cli import breaker
from celery_breaker.plugin.worker import control
from celery_breaker.plugin.worker.events import Events
from celery_breaker.settings import DEFAULTS
from celery_breaker.status import actions
from celery_breaker.web import WebOptions, create_app
from tests.docs.pages import DOCS, ROOT, pages, prose, table, ticked
from tests.status.desks import QUICK, Declared, office
from tests.support.waiting import eventually

README = (ROOT / "README.md").read_text()
CLI = (DOCS / "cli.md").read_text()
WEB = (DOCS / "web.md").read_text()
CONTROL = (DOCS / "control.md").read_text()
SEEING = (DOCS / "observability.md").read_text()
OPTIONS = (DOCS / "reference" / "options.md").read_text()
EXTRAS = metadata.metadata("celery-breaker").get_all("Provides-Extra") or []


def shown(cell: str) -> object:
    """The value that a cell shows as a default; words for none are `None`."""
    word = cell.strip("`")
    if word in ("off", "none", "derived", "the app's default queue") or word.startswith("the task's hard time limit"):
        return None
    if word in ("true", "false"):
        return word == "true"
    return ast.literal_eval(word)


def test_every_option_of_a_policy_is_in_the_table_with_its_default() -> None:
    defaults = {field.name: field.default for field in dataclasses.fields(Policy)}
    rows = table(README, "## Options of a breaker")
    assert [ticked(row[0])[0] for row in rows if len(ticked(row[0])) == 1] == [ticked(row[0])[0] for row in rows]
    assert {ticked(row[0])[0] for row in rows} == set(defaults)
    said = {ticked(row[0])[0]: row[1] for row in rows}
    assert (said.pop("failures"), said.pop("ignore")) == ("all exceptions", "none")
    for name, cell in said.items():
        assert shown(cell) == defaults[name], name


def test_every_answer_to_a_refusal_is_told_of() -> None:
    [meaning] = [row[2] for row in table(README, "## Options of a breaker") if row[0] == "`on_open`"]
    way = table((DOCS / "explanation" / "way-of-a-task.md").read_text(), "## Refused")
    assert {f'"{word}"' for word in ON_OPEN} == {word for row in way for word in ticked(row[0])}
    assert {f'"{word}"' for word in ON_OPEN} - set(ticked(meaning)) == {'"park"'}  # which is the default


def test_every_attribute_of_a_task_is_in_the_table() -> None:
    ours = {name for name in vars(BreakerTask) if name.startswith("breaker")}
    assert {ticked(row[0])[0] for row in table(OPTIONS, "## On a task")} == ours


def test_every_setting_is_in_the_table_with_its_default() -> None:
    rows = {ticked(row[0])[0]: row[1] for row in table(README, "<!-- settings -->")}
    assert rows.keys() == DEFAULTS.keys()
    for name, cell in rows.items():
        assert (shown(cell) or None) == (DEFAULTS[name] or None), name


def test_every_extra_is_in_the_table() -> None:
    told = [name for row in table(README, "## Use it") for name in ticked(row[0])]
    assert sorted(told) == sorted(EXTRAS)


def test_every_extra_that_somebody_is_told_to_install_exists() -> None:
    files = [ROOT / "README.md", *pages(), *(ROOT / "src").rglob("*.py"), *(ROOT / "example_project").rglob("*.txt")]
    named = re.findall(r"celery-breaker\[([\w,]+)\]", "".join(file.read_text() for file in files))
    assert {extra for names in named for extra in names.split(",")} <= {*EXTRAS}
    assert len(named) > 10


def test_every_command_is_in_the_table() -> None:
    told = [
        ticked(row[0])[0].split()[0] for row in table(CLI, "celery -A proj breaker COMMAND [NAME...] [OPTIONS]\n```")
    ]
    assert sorted(told) == sorted(breaker.commands)


def flags(command: click.Command) -> set[str]:
    """What may be written after it, in all its forms."""
    return {name for option in command.params if isinstance(option, click.Option) for name in option.opts}


def test_every_option_of_every_command_is_in_the_tables() -> None:
    told: dict[str, set[str]] = {name: set() for name in breaker.commands}
    for options, of, _ in table(CLI, "## Options"):
        named = ticked(of) if not of.startswith("all but") else breaker.commands.keys() - set(ticked(of))
        for name in named:
            told[name] |= {option.split()[0] for option in ticked(options)}
    simulated = table(CLI, "Its options; `TIME` is seconds, or a number with `s`, `m`, `h` or `d`:")
    told["simulate"] |= {option.split()[0] for row in simulated for option in ticked(row[0])}
    told["web"] |= {ticked(row[0])[0].split()[0] for row in table(WEB, "## Options")}
    assert told == {name: flags(command) for name, command in breaker.commands.items()}


def test_defaults_of_simulate_are_those_in_the_table() -> None:
    rows = table(CLI, "Its options; `TIME` is seconds, or a number with `s`, `m`, `h` or `d`:")
    said = {ticked(row[0])[0].split()[0]: row[1] for row in rows}
    there = {option.opts[0]: option.default for option in breaker.commands["simulate"].params}
    numbers = {name: float(cell) for name, cell in said.items() if re.fullmatch(r"[\d.]+", cell)}
    assert len(numbers) >= 8
    assert numbers == {name: float(there[name]) for name in numbers}


def test_every_key_of_a_breaker_s_object_is_in_the_table() -> None:
    told = {
        name for row in table(CLI, "The keys of a breaker's object; times are in seconds:") for name in ticked(row[0])
    }
    [smtp] = office(Declared({"smtp": QUICK})).desk.statuses(["smtp"])
    assert told == smtp.as_dict().keys()


def test_every_option_of_the_dashboard_is_in_the_table() -> None:
    rows = table(WEB, "## Options")
    told = {ticked(row[0])[0].split()[0] for row in rows}
    [command] = [command for name, command in breaker.commands.items() if name == "web"]
    assert told == {name for option in command.params for name in option.opts}
    assert {ticked(row[1])[0] for row in rows} == {option.envvar for option in command.params}  # type: ignore[attr-defined]


def test_every_route_of_the_api_is_in_the_table() -> None:
    told: set[tuple[str, str]] = set()
    for first, _ in table(WEB, "## REST"):
        paths = ticked(first)
        method, head = paths[0].split()
        told.add((method, head))
        told |= {(method, f"{head.rsplit('/', 1)[0]}{path}") for path in paths[1:]}
    app = create_app(office(Declared({"smtp": QUICK})).desk, options=WebOptions())
    [mount] = [route for route in app.routes if isinstance(route, Mount) and route.path == "/api/v1"]
    there = {
        (method, re.sub(r"\{name:breaker\}", "NAME", route.path))
        for route in mount.routes
        if isinstance(route, Route)
        for method in (route.methods or set()) - {"HEAD"}
    }
    assert told == there - {("GET", "/openapi.json")}


def test_events_and_their_fields_are_those_in_the_tables() -> None:
    at = office(Declared({"smtp": QUICK}))
    heard: list[tuple[str, dict[str, object]]] = []
    events = Events(at.desk.registry, send=lambda kind, **fields: heard.append((kind, fields)), monitored=lambda: True)
    at.desk.registry.refresh(["smtp"])
    at.desk.registry.watchers.append(events.seen)
    at.desk.act("smtp", actions.force(Mode.FORCED_OPEN, by="eve"))
    eventually(lambda: len(heard) == 1, "the opening should be told")
    at.desk.act("smtp", actions.auto(by="eve"))
    events.deferred("smtp", "park")
    events.released("smtp", 3)
    eventually(lambda: len(heard) == 4, "all should be told")
    events.stop()

    told = {ticked(row[0])[0]: ticked(row[2]) for row in table(CONTROL, "## Events")}
    assert {kind for kind, _ in heard} == told.keys() - {"breaker-half-opened"}
    meaning = CONTROL.split("| field | meaning |\n", 1)[1].split("\n\n", 1)[0]
    explained = {name for line in meaning.splitlines()[1:] for name in ticked(line.split("|")[1])}
    sent = {name for _, said in heard for name in said}
    assert sent | {"type", "hostname", "timestamp", "utcoffset", "pid", "clock"} == explained
    for kind, said in heard:
        if told[kind]:
            assert set(told[kind]) == said.keys()


def test_every_command_of_remote_control_is_in_the_table() -> None:
    told = {ticked(row[0])[0].split()[1] for row in table(CONTROL, "## Remote control")}
    assert told == set(control.__all__)


def test_signals_carry_what_the_table_says() -> None:
    told = {name: set(ticked(row[1])) for row in table(SEEING, "## Signals") for name in ticked(row[0])}
    assert told == {name: getattr(signals, name).providing_args for name in signals.__all__}


def test_tasks_of_maintenance_take_what_the_table_says() -> None:
    app = Celery("shop", broker="memory://", set_as_current=False)
    maintenance.register(app)
    ours = {name: task for name, task in app.tasks.items() if name.startswith("celery_breaker.")}
    ours.pop("celery_breaker.tend", None)  # the agent's, and not for people
    rows = table((DOCS / "howto" / "maintenance.md").read_text(), "## On a schedule")
    told = {ticked(row[0])[0]: ["name", *ticked(row[1])] for row in rows}
    assert told == {name: list(inspect.signature(task.run).parameters) for name, task in ours.items()}


def test_tests_that_a_promise_names_exist() -> None:
    page = (DOCS / "explanation" / "guarantees.md").read_text()
    named = {name for name in ticked(page) if name.startswith("test_")}
    assert len(named) > 15
    sources = "\n".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    assert {name for name in named if f"def {name}(" not in sources} == set()


def test_words_of_the_glossary_are_explained_once() -> None:
    text = (DOCS / "reference" / "glossary.md").read_text()
    terms = re.findall(r"^(\w[^\n]*)\n: ", text, re.MULTILINE)
    assert len(terms) == len(set(terms)) > 20


def test_no_page_names_what_is_of_no_concern_to_a_reader() -> None:
    """Addresses of one machine, numbers of tickets."""
    for page in pages():
        assert not re.search(r"/(tmp|root|home)/(?!worker-alive)\w|\bissue #?\d", prose(page.read_text())), page.name
