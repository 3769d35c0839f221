"""``celery breaker``: the commands, their options and their help. What they do is in `run`.

Every ``celery`` command imports this module, workers and beat among them. So it imports little, and it is what connects
the signals by which settings alone attach breakers to tasks.
"""

from __future__ import annotations

from typing import Any

import click
from click_didyoumean import DYMGroup  # type: ignore[import-untyped]

import celery_breaker.plugin.install
import celery_breaker.plugin.worker.control  # noqa: F401  (both connect themselves to Celery as they are imported)
from celery_breaker.plugin.cli import options as opt

__all__ = ["breaker"]

_DOCTOR_CODES = """\b
Exit codes:
  0  nothing to change, or hints only
  1  a problem; with --strict, a hint too
  2  usage: an option that cannot be
  4  the store or the broker cannot be reached, so not all was checked"""

_EXIT_CODES = """\b
Exit codes:
  0  done; for `status`: the breaker admits calls
  1  error, such as a setting that cannot work
  2  usage: an option or a name that cannot be
  3  `status` only: the breaker refuses calls now
  4  the store cannot be reached; for `release` and `purge`, the broker too
  5  no such breaker"""

_GROUP: type[click.Group] = DYMGroup


@click.group(cls=_GROUP, epilog=_EXIT_CODES)
def breaker(**_: Any) -> None:
    """See and steer circuit breakers.

    \b
    Examples:
      celery -A proj breaker list
      celery -A proj breaker status smtp
      celery -A proj breaker open smtp --reason "mail host moves" --expires 2h
      celery -A proj breaker auto smtp
      celery -A proj breaker watch
    """


@breaker.command("list")
@opt.as_json
@click.pass_context
def list_(ctx: click.Context, as_json: bool) -> None:
    """List all breakers, those that refuse calls first.

    These are the ones that settings and tasks declare, and those of which the store has a record. With --json: an
    array of objects, one per breaker.

    \b
    Examples:
      celery -A proj breaker list
      celery -A proj breaker list --json | jq -r '.[] | select(.state == "open") | .name'
    """
    from celery_breaker.plugin.cli import run

    run.show_all(ctx.obj, as_json=as_json)


@breaker.command(epilog=_EXIT_CODES)
@opt.one
@opt.as_json
@click.pass_context
def status(ctx: click.Context, name: str, as_json: bool) -> None:
    """Show one breaker; the exit code says whether it admits calls.

    With --json: one object.

    \b
    Examples:
      celery -A proj breaker status smtp
      celery -A proj breaker status smtp >/dev/null || echo "no mail now"
      celery -A proj breaker status smtp --json | jq .retry_after
    """
    from celery_breaker.plugin.cli import run

    ctx.exit(run.show_one(ctx.obj, name, as_json=as_json))


@breaker.command("open")
@opt.some
@opt.override
@opt.as_json
@click.pass_context
def open_(
    ctx: click.Context, names: tuple[str, ...], reason: str, expires: float | None, create: bool, as_json: bool
) -> None:
    """Force breakers open: no call is made, no probe either.

    Holds until `auto`, `close` or `reset`, or for as long as --expires says.

    \b
    Examples:
      celery -A proj breaker open smtp --reason "mail host moves" --expires 2h
      celery -A proj breaker open crm billing
    """
    from celery_breaker.plugin.cli import run

    run.override(ctx.obj, names, "forced_open", reason=reason, expires=expires, create=create, as_json=as_json)


@breaker.command()
@opt.some
@opt.override
@opt.as_json
@click.pass_context
def disable(
    ctx: click.Context, names: tuple[str, ...], reason: str, expires: float | None, create: bool, as_json: bool
) -> None:
    """Admit every call, and hold the state still.

    \b
    Example:
      celery -A proj breaker disable smtp --reason "false alarm" --expires 1h
    """
    from celery_breaker.plugin.cli import run

    run.override(ctx.obj, names, "disabled", reason=reason, expires=expires, create=create, as_json=as_json)


@breaker.command()
@opt.some
@opt.override
@opt.as_json
@click.pass_context
def observe(
    ctx: click.Context, names: tuple[str, ...], reason: str, expires: float | None, create: bool, as_json: bool
) -> None:
    """Admit every call, and go on moving the state as if it counted.

    Shows what a policy would do before it may do it.

    \b
    Example:
      celery -A proj breaker observe smtp --expires 1d
    """
    from celery_breaker.plugin.cli import run

    run.override(ctx.obj, names, "observing", reason=reason, expires=expires, create=create, as_json=as_json)


@breaker.command()
@opt.some
@opt.as_json
@click.pass_context
def auto(ctx: click.Context, names: tuple[str, ...], as_json: bool) -> None:
    """Lift an override: the state decides again.

    That is, undo `open`, `disable` or `observe`.

    \b
    Example:
      celery -A proj breaker auto smtp
    """
    from celery_breaker.plugin.cli import run

    run.auto(ctx.obj, names, as_json=as_json)


@breaker.command()
@opt.some
@opt.reason
@opt.as_json
@click.pass_context
def close(ctx: click.Context, names: tuple[str, ...], reason: str, as_json: bool) -> None:
    """Close breakers now; parked tasks start to go back.

    Lifts a forced opening. An early relapse still opens for longer than the first time; `reset` forgets that too.

    \b
    Example:
      celery -A proj breaker close smtp --reason "the provider says it is fixed"
    """
    from celery_breaker.plugin.cli import run

    run.close(ctx.obj, names, reason=reason, as_json=as_json)


@breaker.command()
@opt.some
@opt.reason
@opt.as_json
@click.pass_context
def reset(ctx: click.Context, names: tuple[str, ...], reason: str, as_json: bool) -> None:
    """Make breakers as new.

    Closed, no override, no back-off, an empty window. Parked tasks are kept, and start to go back.

    \b
    Example:
      celery -A proj breaker reset smtp
    """
    from celery_breaker.plugin.cli import run

    run.reset(ctx.obj, names, reason=reason, as_json=as_json)


@breaker.command("set")
@opt.one
@click.argument("options", metavar="OPTION=VALUE...", nargs=-1, required=True)
@opt.as_json
@click.pass_context
def set_(ctx: click.Context, name: str, options: tuple[str, ...], as_json: bool) -> None:
    """Set options of a breaker's policy in the whole fleet, now.

    They hold over what code and settings say, also after a restart, until `unset`. `status` shows them.

    \b
    Examples:
      celery -A proj breaker set smtp max_failures=10
      celery -A proj breaker set smtp "failure_window=100 calls" slow_call_duration=none
    """
    from celery_breaker.plugin.cli import run

    run.set_options(ctx.obj, name, options, as_json=as_json)


@breaker.command()
@opt.one
@click.argument("options", metavar="[OPTION...]", nargs=-1)
@opt.as_json
@click.pass_context
def unset(ctx: click.Context, name: str, options: tuple[str, ...], as_json: bool) -> None:
    """Go back to the app's own policy: in these options, or in all that are set.

    \b
    Examples:
      celery -A proj breaker unset smtp max_failures
      celery -A proj breaker unset smtp
    """
    from celery_breaker.plugin.cli import run

    run.unset_options(ctx.obj, name, options, as_json=as_json)


@breaker.command()
@opt.one
@click.option("--count", type=click.IntRange(min=1), metavar="N", help="At most so many, oldest first. Default: all.")
@opt.as_json
@click.pass_context
def release(ctx: click.Context, name: str, count: int | None, as_json: bool) -> None:
    """Put parked tasks back into their queues now, all at once.

    A closed breaker does so by itself, slowly at first; this is for when that is not wanted. While the breaker refuses
    calls, the tasks are parked again when a worker takes them, and each time counts as a deferral.

    \b
    Examples:
      celery -A proj breaker release smtp --count 10
      celery -A proj breaker release smtp
    """
    from celery_breaker.plugin.cli import run

    run.release(ctx.obj, name, count=count, as_json=as_json)


@breaker.command()
@opt.one
@click.option("-f", "--force", "-y", "--yes", "force", is_flag=True, help="Do not ask.")
@opt.as_json
@click.pass_context
def purge(ctx: click.Context, name: str, force: bool, as_json: bool) -> None:
    """Delete the parked tasks of a breaker. They never run.

    Their results stay DEFERRED, and a chord that waits for one never ends. Asks first; no answer means no.

    \b
    Examples:
      celery -A proj breaker purge smtp
      celery -A proj breaker purge smtp --yes
    """
    from celery_breaker.plugin.cli import run

    run.purge(ctx.obj, name, force=force, as_json=as_json)


@breaker.command()
@click.option("--interval", callback=opt.seconds, default="1", metavar="SECONDS", help="Between two looks. Default: 1.")
@click.option("--once", is_flag=True, help="Print one table and end.")
@click.option("--json", "as_json", is_flag=True, help="Print a line of JSON for each breaker, and for each change.")
@click.pass_context
def watch(ctx: click.Context, interval: float, once: bool, as_json: bool) -> None:
    """Show all breakers, and keep the table up to date until Ctrl-C.

    Where the output is no terminal: the table once, then a line for each change. Goes on while the store is away, and
    says so.

    \b
    Examples:
      celery -A proj breaker watch
      celery -A proj breaker watch --interval 5s
      celery -A proj breaker watch --json >> breakers.log
    """
    from celery_breaker.plugin.cli import run

    if once:
        run.show_all(ctx.obj, as_json=as_json)
    else:
        run.watch(ctx.obj, interval=interval, as_json=as_json)


@breaker.command()
@opt.web("--port", type=click.IntRange(0, 65535), default=5556, metavar="N", help="Default: 5556; 0 is any free one.")
@opt.web("--address", default="127.0.0.1", help="Any but 127.0.0.1 needs a login.", metavar="IP")
@opt.web("--basic-auth", multiple=True, metavar="USER:PASSWORD", help="Who may come in; repeatable, or with commas.")
@opt.web("--token", "tokens", multiple=True, help="For `Authorization: Bearer`; repeatable.")
@opt.web("--url-prefix", default="", metavar="PATH", help="Under which everything is, for a proxy that keeps it.")
@opt.web("--allow-host", "hosts", multiple=True, metavar="NAME", help="Name of a proxy in front; repeatable.")
@opt.web("--allow-actions", is_flag=True, help="Steer breakers too; without, it only shows.")
@opt.web("--show-args", is_flag=True, help="Show the arguments of parked tasks.")
@click.pass_context
def web(ctx: click.Context, /, **asked: Any) -> None:
    """Serve the dashboard and its REST API until Ctrl-C.

    Better in the environment than on the command line, where others on the machine see it: passwords and tokens.

    \b
    Examples:
      celery -A proj breaker web
      celery -A proj breaker web --port 8080 --basic-auth eve:secret --address 0.0.0.0 --allow-actions
      CELERY_BREAKER_WEB_TOKEN=secret celery -A proj breaker web --allow-actions
    """
    from celery_breaker.plugin.cli.web import run

    run(ctx.obj, **asked)


@breaker.command(epilog=_DOCTOR_CODES)
@click.option("--strict", is_flag=True, help="Exit with 1 for hints too.")
@click.option("--wait", callback=opt.seconds, default="3", metavar="SECONDS", help="To listen for workers. Default: 3.")
@opt.as_json
@click.pass_context
def doctor(ctx: click.Context, strict: bool, wait: float, as_json: bool) -> None:
    """Say where breakers are kept and why, and what in your configuration will go wrong.

    One line for each finding, with what to change. Calls nothing but the store, the broker and the workers, and leaves
    nothing behind.

    \b
    Examples:
      celery -A proj breaker doctor
      celery -A proj breaker doctor --strict || exit 1
      celery -A proj breaker doctor --json | jq -r '.findings[].says'
    """
    from celery_breaker.plugin.cli.doctor import run

    ctx.exit(run(ctx.obj, strict=strict, wait=wait, as_json=as_json))


@breaker.command(epilog=_EXIT_CODES)
@click.argument("name", required=False)
@click.option(
    "-o", "--option", "options", multiple=True, metavar="KEY=VALUE", help="Over what the app says; repeatable."
)
@click.option(
    "--rate", type=float, callback=opt.rate, default=10.0, metavar="N", help="Tasks/s of the fleet. Default: 10."
)
@opt.duration("--latency", "0.1", "Of a call, in the median.")
@opt.duration("--outage", "60", "How long the service is down.")
@click.option("--no-outage", is_flag=True, help="It stays up: does the policy trip for nothing?")
@opt.duration(
    "--outage-start", None, "When it goes down. Default: failure window plus 10 s, so that the window is full."
)
@opt.duration("--down-latency", "1", "Until a call has failed while it is down, a timeout for instance.")
@click.option(
    "--failure-rate",
    type=float,
    callback=opt.share,
    default=0.0,
    metavar="N",
    help="That fails anyway, 0 to 1. Default: 0.",
)
@click.option("--capacity", type=float, callback=opt.rate, metavar="N", help="Calls/s that it can take; more fail.")
@click.option("--workers", type=click.IntRange(min=1), default=8, metavar="N", help="Default: 8.")
@click.option("--concurrency", type=click.IntRange(min=1), metavar="N", help="Slots of each. Default: the app's, or 4.")
@click.option("--backlog", type=click.IntRange(min=0), default=0, metavar="N", help="Tasks that wait at the start.")
@click.option("--retries", type=click.IntRange(min=0), default=3, metavar="N", help="Of a failed call. Default: 3.")
@opt.duration("--duration", None, "How long to simulate. Default: until all is done.")
@click.option("--seed", type=int, default=0, metavar="N", help="Of what is random. Default: 0.")
@click.option("--plot", type=click.Path(dir_okay=False), metavar="FILE", help="Also draw a .svg, .png or .pdf.")
@opt.as_json
@click.pass_context
def simulate(ctx: click.Context, /, options: tuple[str, ...], no_outage: bool, plot: str | None, **asked: Any) -> None:
    """Show what an outage would do, to choose thresholds before there is one.

    Plays through a fleet with the policy of breaker NAME, or the defaults, and --option; beside it, the same without a
    breaker. Nothing is called: neither service nor store nor broker.

    \b
    Examples:
      celery -A proj breaker simulate smtp --rate 50 --workers 20 --down-latency 10
      celery -A proj breaker simulate smtp -o failure_window=20 -o max_failures=10
      celery breaker simulate -o backoff=constant --outage 10m --plot outage.svg
    """
    from pathlib import Path

    from celery_breaker.plugin.cli.simulate import Question, run

    as_json = asked.pop("as_json")
    if no_outage:
        asked["outage"] = None
    question = Question(options=options, **asked)
    run(ctx.obj, question, json=as_json, picture=Path(plot) if plot else None)
