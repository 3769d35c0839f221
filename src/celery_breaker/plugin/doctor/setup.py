"""Checks of what runs where: store, broker, queues, workers and their clocks. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from celery_breaker.plugin.doctor.case import Check, Facts, Finding, hint, problem, some
from celery_breaker.status.words import human

__all__ = ["CHECKS"]

_SKEW = 1.0
"""Seconds; what keeps clocks in step keeps them far closer."""

_OWN_CLOCKS = ("message", "memory")
"""Stores without a clock of their own: each process goes by its machine's."""


def store_reachable(facts: Facts) -> Iterator[Finding]:
    """The store answers, and its tables are there."""
    error, message = facts.store.error, facts.store.kind == "message"
    if not error or (message and not facts.workers):  # without workers there is nobody to ask, which is said elsewhere
        return
    if "migrate" in error:
        yield problem("migrations", f"the store cannot be used: {error}", "run manage.py migrate")
    elif message:
        yield problem(
            "store",
            f"workers are online, but none answers on the bus: {error}",
            "let them run the same version, with breaker_bus on, and the same breaker_store_prefix and virtual host",
        )
    else:
        cure = "start it, or correct breaker_store" if facts.store.away else "correct breaker_store"
        yield problem("store", f"the store cannot be used, so each worker goes by itself: {error}", cure)


def store_speed(facts: Facts) -> Iterator[Finding]:
    """It answers well within its timeout."""
    took, timeout = facts.store.round_trip, facts.store.timeout
    if took is not None and took > timeout / 4:
        yield hint(
            "store-speed",
            f"a round trip to the store takes {took * 1000:.0f} ms, and after {timeout * 1000:.0f} ms it counts as "
            "down",
            "raise breaker_store_timeout, or use a store nearer to the workers",
        )


def store_shared(facts: Facts) -> Iterator[Finding]:
    """Workers know of each other's failures."""
    kind, workers = facts.store.kind, facts.workers
    if kind == "memory" and (workers is None or len(workers) > 1):
        say = hint if workers is None else problem
        many = "" if workers is None else f", and {len(workers)} are online"
        yield say(
            "store-shared",
            f"memory:// is kept by each worker for itself{many}: each has to find out about an outage alone",
            "leave breaker_store out, or set it to a store that is shared",
        )
    if kind == "message" and not facts.store.shared:
        yield problem(
            "store-shared",
            f"each worker has to find out about an outage alone: {facts.store.why}",
            "turn breaker_bus on, or set breaker_store to Redis, memcached or a database",
        )


def store_open_to_others(facts: Facts) -> Iterator[Finding]:
    """Nobody else can open and close breakers."""
    store = facts.store
    if store.writable_file:
        yield problem(
            "store-open",
            f"every user of this machine can write to {store.writable_file}",
            f"chmod o-w {store.writable_file}",
        )
    if store.remote and not store.protected:
        cure = {
            "redis": "give it a password or an ACL user, and write them into the URL",
            "memcached": "let nobody else reach its port, for it knows no passwords",
        }
        yield hint(
            "store-open",
            f"whoever can reach {store.url} can open and close your breakers: it asks for no password",
            cure.get(store.kind, "give it a password"),
        )


def store_clock(facts: Facts) -> Iterator[Finding]:
    """The store's clock and this machine's agree."""
    skew = facts.store.skew
    if skew is not None and abs(skew) > _SKEW and facts.store.kind not in _OWN_CLOCKS:
        yield hint(
            "store-clock",
            f"the store's clock is {_ahead(skew)} this machine's; breakers go by the store's, ETAs and expiries by "
            "each machine's",
            "run NTP on both",
        )


def worker_clocks(facts: Facts) -> Iterator[Finding]:
    """The workers' clocks and this machine's agree."""
    wrong = {worker.name: worker.skew for worker in facts.workers or () if worker.skew and abs(worker.skew) > _SKEW}
    if not wrong:
        return
    worst = max(wrong.values(), key=lambda skew: abs(skew or 0.0)) or 0.0
    own = facts.store.kind in _OWN_CLOCKS
    say = problem if own else hint
    harm = "breakers and ETAs go by it" if own else "ETAs and expiries go by it"
    yield say("worker-clock", f"{some(wrong)}: the clock is {_ahead(worst)} this machine's; {harm}", "run NTP there")


def _ahead(skew: float) -> str:
    return f"{human(abs(skew))} {'ahead of' if skew > 0 else 'behind'}"


def strangers(facts: Facts) -> Iterator[Finding]:
    """Nobody else uses the same keys."""
    if names := facts.store.strangers:
        yield hint(
            "strangers",
            f"the store has breakers that this app does not name ({some(map(repr, names))}), perhaps those of another "
            f"app with the prefix {facts.store.prefix!r}",
            "if so, set breaker_store_prefix; where only your own code calls them, this is fine",
        )


def broker_reachable(facts: Facts) -> Iterator[Finding]:
    """The broker answers."""
    if facts.broker.error:
        yield problem(
            "broker", f"the broker cannot be reached: {facts.broker.error}", "start it, or correct broker_url"
        )


def parking_queues(facts: Facts) -> Iterator[Finding]:
    """Deferred tasks have a place to go."""
    for queue, error in facts.broker.parking.items():
        if "PRECONDITION_FAILED" in error or "WRONGTYPE" in error:
            cure = "it was made by something else, with other arguments; empty and delete it"
        elif "predefined_queues" in error:
            cure = "make it, and list it in broker_transport_options['predefined_queues']"
        else:
            cure = "let the user of broker_url configure, write and read queues named celery_breaker.*"
        yield problem("parking-queue", f"tasks cannot be parked in {queue}: {error}", cure)


def quorum_queues(facts: Facts) -> Iterator[Finding]:
    """What quorum queues do otherwise."""
    quorum = {queue.name for queue in facts.queues if queue.quorum}
    if not quorum:
        return
    if any(policy.parks for policy in facts.policies.values()):
        yield hint(
            "quorum-queues",
            f"{some(sorted(quorum))} is replicated, but tasks are parked in classic queues, which are not",
            "give the virtual host default_queue_type=quorum before the first task is parked",
        )
    if not facts.detects_quorum:
        yield problem(
            "quorum-queues",
            f"{some(sorted(quorum))} is a quorum queue, and worker_detect_quorum_queues is off: RabbitMQ refuses the "
            "worker's global QoS",
            "set worker_detect_quorum_queues=True",
        )
    for name, policy in facts.policies.items():
        if policy.on_open == "retry":
            yield problem(
                "quorum-queues",
                f"breaker {name!r}: on_open='retry' sends tasks with an ETA, and on quorum queues each takes up a "
                "place of the prefetch count until then, so workers come to a halt",
                "use on_open='park'",
            )


def delivery_limits(facts: Facts) -> Iterator[Finding]:
    """A queue that drops what was given out too often."""
    for queue in facts.queues:
        if queue.delivery_limit is not None and queue.delivery_limit >= 0 and not queue.dead_letters:
            yield hint(
                "delivery-limit",
                f"queue {queue.name}: RabbitMQ drops a task that workers lost {queue.delivery_limit} times "
                "(x-delivery-limit), and nothing keeps it",
                "give the queue an x-dead-letter-exchange",
            )


def workers_online(facts: Facts) -> Iterator[Finding]:
    """Somebody runs tasks, and so tends breakers."""
    if facts.workers is not None and not facts.workers and not facts.broker.error:
        yield hint(
            "workers",
            "no worker answers, so nothing tends open breakers and nothing releases parked tasks",
            "start a worker; in a deploy script, run this after they are up",
        )


def tended(facts: Facts) -> Iterator[Finding]:
    """Open breakers are probed when their time has come."""
    if facts.overdue:
        name, late = max(facts.overdue.items(), key=lambda item: item[1])
        yield problem(
            "tending",
            f"nobody tends: {some(map(repr, facts.overdue))} should have been probed up to {human(late)} ago "
            f"({name!r})",
            "start a worker whose app has these breakers, and look at its log",
        )


CHECKS: tuple[Check, ...] = (
    store_reachable,
    store_speed,
    store_shared,
    store_open_to_others,
    store_clock,
    worker_clocks,
    strangers,
    broker_reachable,
    parking_queues,
    quorum_queues,
    delivery_limits,
    workers_online,
    tended,
)
