"""Stores without a database: whatever is lost, doubled, late or kept apart, all come to know the same."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from celery_breaker.clock import ManualClock
from celery_breaker.core import machine
from celery_breaker.core.journal import Book
from celery_breaker.core.policy import Policy
from celery_breaker.core.record import Mode, Record, State
from celery_breaker.core.windows import Delta, Totals, Window
from celery_breaker.stores.conversation import BEAT, SPREAD
from celery_breaker.stores.message import SETTLE, MessageStore
from tests.stores.net import Net, Peer
from tests.support import properties

__all__ = ["properties"]

POLICY = Policy(max_failures=1, failure_rate=0, recovery_timeout=5, jitter=0)
FAULTY = Totals(now=0.0, calls=1, failures=1, workers={"w": 1})
A_SECOND = 1.0
A_WHILE = 4 * BEAT

Step = Callable[[Record, float], Record]


def trip(record: Record, now: float) -> Record:
    return machine.tripped(record, FAULTY, POLICY, now=now, u=0.5)


def half_open(record: Record, now: float) -> Record:
    return machine.half_opened(record, now=now)


def fail_probe(record: Record, now: float) -> Record:
    return machine.probe_failed(record, POLICY, generation=record.generation, now=now, u=0.5, reason="again")


def pass_probe(record: Record, now: float) -> Record:
    return machine.probe_succeeded(record, POLICY, generation=record.generation, now=now)


def close(record: Record, now: float) -> Record:
    return machine.close(record, now=now)


def force_open(record: Record, now: float) -> Record:
    return machine.override(record, Mode.FORCED_OPEN, now=now, reason="we move")


def disable(record: Record, now: float) -> Record:
    return machine.override(record, Mode.DISABLED, now=now)


def lift(record: Record, now: float) -> Record:
    return machine.override(record, Mode.AUTO, now=now)


STEPS: list[Step] = [trip, half_open, fail_probe, pass_probe, close, force_open, disable, lift]


# --- all come to know the same ----------------------------------------------------------------------------------------


@given(
    seed=st.integers(0, 2**32),
    size=st.integers(2, 6),
    loss=st.sampled_from([0.0, 0.3, 0.9, 1.0]),
    deeds=st.lists(
        st.tuples(
            st.integers(0, 5), st.sampled_from(STEPS), st.sampled_from(["smtp", "crm"]), st.sampled_from([0.0, 0.01, 3])
        ),
        max_size=15,
    ),
    split=st.booleans(),
)
def test_after_any_history_one_exchange_makes_all_agree(
    seed: int, size: int, loss: float, deeds: list[tuple[int, Step, str, float]], split: bool
) -> None:
    net = Net(size, seed=seed, delay=0.2, skew=2.0)
    net.loss, net.double = loss, 0.3
    if split:
        net.split(net.peers[: size // 2], net.peers[size // 2 :])
    for who, step, name, then in deeds:
        net.peers[who % size].write(step, name)
        net.run(then)
    best = {name: max(peer.record(name).generation for peer in net.peers) for name in ("smtp", "crm")}
    net.heal()
    net.run(2 * A_SECOND)
    for name in ("smtp", "crm"):
        assert net.agreed(name)
        assert net.peers[0].record(name).generation == best[name], "the highest generation has won"


@given(seed=st.integers(0, 2**32), loss=st.sampled_from([0.5, 1.0]))
def test_what_is_lost_comes_by_itself_in_a_while(seed: int, loss: float) -> None:
    net = Net(5, seed=seed)
    net.loss = loss
    net.peers[3].write(trip)
    net.peers[1].write(disable)
    net.run(A_SECOND)
    net.loss = 0.0
    net.run(A_WHILE)
    assert net.agreed()
    assert (net.peers[0].record().state, net.peers[0].record().mode) == (State.OPEN, Mode.DISABLED)


def test_a_trip_is_known_to_all_as_soon_as_a_message_arrives() -> None:
    net = Net(4, delay=0.02)
    net.peers[0].write(trip)
    net.run(0.03)
    assert net.agreed()
    assert all("smtp" in peer.changed for peer in net.peers[1:])
    assert net.peers[0].changed == [], "nobody is told his own news"


def test_a_newcomer_knows_all_within_the_spread_of_an_answer() -> None:
    net = Net(3)
    net.peers[0].write(trip)
    net.peers[1].write(disable, "crm")
    net.run(1)
    newcomer = net.join()
    newcomer.ask()
    net.run(SPREAD + 4 * net.delay)
    assert newcomer.talk.answered
    assert newcomer.record().state is State.OPEN
    assert newcomer.record("crm").mode is Mode.DISABLED
    assert sorted(newcomer.store.names()) == ["crm", "smtp"]


def test_a_newcomer_to_a_fleet_that_knows_nothing_is_told_so() -> None:
    net = Net(1)
    newcomer = net.join()
    newcomer.ask()
    net.run(SPREAD + 4 * net.delay)
    assert newcomer.talk.answered


def test_guests_do_not_answer_for_the_fleet() -> None:
    net = Net()
    one, other = net.join(member=False), net.join(member=False)
    one.ask()
    other.ask()
    net.run(A_WHILE)
    assert not one.talk.answered
    assert not other.talk.answered


def test_a_guest_s_word_reaches_all() -> None:
    net = Net(3)
    net.peers[0].write(trip)
    net.run(1)
    guest = net.join(member=False)
    guest.ask()
    net.run(SPREAD + 0.1)
    guest.write(force_open)
    net.run(0.1)
    assert net.agreed()
    assert net.peers[2].record().mode is Mode.FORCED_OPEN
    assert net.peers[2].record().state is State.OPEN


def test_both_sides_of_a_partition_go_on_and_agree_within_a_second_of_its_end() -> None:
    net = Net(6)
    here, there = net.peers[:3], net.peers[3:]
    net.split(here, there)
    here[0].write(trip)
    there[0].write(force_open)
    net.run(30)
    here[1].write(half_open)
    net.run(1)
    here[2].write(fail_probe)
    net.run(1)
    assert [peer.record().generation for peer in net.peers] == [3, 3, 3, 0, 0, 0]
    assert [str(peer.record().mode) for peer in net.peers] == ["auto"] * 3 + ["forced_open"] * 3
    net.heal()
    net.run(A_SECOND)
    assert net.agreed()
    assert (net.peers[0].record().generation, net.peers[0].record().mode) == (3, Mode.FORCED_OPEN)


def test_a_thousand_breakers_find_their_way_to_a_newcomer() -> None:
    net = Net(2)
    for number in range(1200):
        net.peers[0].write(trip, f"host:{number}")
    net.peers[1].write(disable, "host:7")
    net.run(2)
    newcomer = net.join()
    newcomer.write(trip, "host:0")
    newcomer.write(half_open, "host:0")
    newcomer.ask()
    net.run(A_SECOND)
    assert sorted(newcomer.store.names()) == sorted(net.peers[0].store.names())
    assert newcomer.record("host:7").mode is Mode.DISABLED
    assert all(net.agreed(f"host:{number}") for number in range(1200))


# --- without much noise -----------------------------------------------------------------------------------------------


def test_of_two_hundred_few_answer() -> None:
    net = Net(200, delay=0.01)
    net.peers[0].write(trip)
    net.run(0.1)
    newcomer = net.join()
    newcomer.ask()
    net.sent.clear()
    net.run(0.5)
    assert newcomer.talk.answered
    assert 1 <= len([note for _, note in net.sent if "said" in note]) < 20


def test_of_a_hundred_few_speak_up_when_nothing_happens() -> None:
    net = Net(100, delay=0.01)
    net.peers[0].write(trip)
    net.run(1)
    net.sent.clear()
    net.run(10 * BEAT)
    assert 5 <= len(net.sent) < 60, "about one of them in each interval"


# --- leases: claims ---------------------------------------------------------------------------------------------------


def claim_at_once(net: Net, claimers: list[Peer], *, limit: int = 1, key: str = "key") -> list[str]:
    """All claim before any has heard of another; who holds a place."""
    held, left = [], list(claimers)

    def next_one(seconds: float) -> None:
        if left:
            peer = left.pop()
            lease = peer.store.lease(key, f"of {peer.name}", limit=limit, ttl=60)
            if lease:
                held.append(peer.name)
        else:
            net.paused = net.run
            net.run(SETTLE)

    net.paused = next_one
    next_one(0)
    return held


@given(seed=st.integers(0, 2**32), size=st.integers(2, 8), limit=st.integers(1, 3))
def test_of_many_who_claim_at_once_as_many_hold_as_there_are_places(seed: int, size: int, limit: int) -> None:
    net = Net(size, seed=seed, delay=SETTLE / 2, skew=2.0)
    assert len(claim_at_once(net, net.peers, limit=limit)) == min(size, limit)


def test_a_place_that_all_know_to_be_taken_costs_no_wait() -> None:
    net = Net(2)
    assert net.peers[0].store.lease("key", "a", limit=1, ttl=60)
    net.run(0.1)
    before = net.clock()
    answer = net.peers[1].store.lease("key", "b", limit=1, ttl=60)
    assert not answer
    assert answer.free_in == pytest.approx(60, abs=1)
    assert net.clock() == before


def test_a_place_given_back_is_free_for_all() -> None:
    net = Net(2)
    net.peers[0].store.lease("key", "a", limit=1, ttl=60)
    net.run(0.1)
    net.peers[0].store.release("key", "a")
    net.run(0.1)
    assert net.peers[1].store.lease("key", "b", limit=1, ttl=60)


def test_another_process_may_give_a_place_back() -> None:
    net = Net(2)
    net.peers[0].store.lease("key", "a", limit=1, ttl=60)
    net.run(0.1)
    net.peers[1].store.release("key", "a")
    net.run(0.1)
    assert net.peers[1].store.lease("key", "b", limit=1, ttl=60)


def test_the_place_of_a_lost_holder_falls_free() -> None:
    net = Net(2)
    net.peers[0].store.lease("key", "a", limit=1, ttl=5)
    net.run(4.5)
    assert not net.peers[1].store.lease("key", "b", limit=1, ttl=60)
    net.run(1)
    assert net.peers[1].store.lease("key", "b", limit=1, ttl=60)


def test_a_newcomer_is_told_what_is_held() -> None:
    net = Net(2)
    net.peers[0].store.lease("key", "a", limit=1, ttl=60)
    newcomer = net.join()
    newcomer.ask()
    net.run(0.1)
    assert not newcomer.store.lease("key", "b", limit=1, ttl=60)


def test_a_holder_defends_its_place_against_who_has_not_heard() -> None:
    net = Net(2)
    net.loss = 1.0
    assert net.peers[0].store.lease("key", "a", limit=1, ttl=60)
    net.run(1)
    net.loss = 0.0
    assert not net.peers[1].store.lease("key", "b", limit=1, ttl=60)


def test_two_holders_of_a_partition_are_one_soon_after_its_end() -> None:
    net = Net(2)
    net.split([net.peers[0]], [net.peers[1]])
    for peer in net.peers:
        assert peer.store.lease("agent", peer.name, limit=1, ttl=15)
    net.heal()
    net.run(A_SECOND)
    again = [bool(peer.store.lease("agent", peer.name, limit=1, ttl=15)) for peer in net.peers]
    assert again == [True, False]


def test_who_knows_of_no_peers_waits_for_none() -> None:
    def wait(seconds: float) -> None:
        raise AssertionError("nobody will answer")

    assert MessageStore(pause=wait).lease("key", "a", limit=1, ttl=60)


# --- what is kept by each ---------------------------------------------------------------------------------------------


def test_each_counts_for_itself() -> None:
    net, window = Net(2), Window(span=60.0)
    for peer in net.peers:
        totals = peer.store.tally("smtp", Delta(calls=1, failures=1), window, generation=0, worker=peer.name)
        assert (totals.calls, totals.workers) == (1, {peer.name: 1})
    net.run(1)
    assert net.sent == []


def test_a_write_that_is_heard_makes_a_swap_lose() -> None:
    net = Net(2)
    seen = net.peers[1].store.read(["smtp"]).records["smtp"]
    net.peers[0].write(trip)
    net.run(0.1)
    assert not net.peers[1].store.swap(replace(seen, generation=1), expected=seen.version)


def test_versions_only_grow() -> None:
    net = Net(2)
    versions = []
    net.loss = 1.0
    for step in (force_open, lift, disable):
        net.peers[1].write(step)
    versions.append(net.peers[1].store.read(["smtp"]).records["smtp"].version)
    net.loss = 0.0
    net.peers[0].write(trip)
    net.run(0.1)
    versions.append(net.peers[1].store.read(["smtp"]).records["smtp"].version)
    assert versions == [3, 4]


def test_what_one_forgets_all_forget() -> None:
    net = Net(3)
    net.peers[0].write(trip)
    net.run(0.1)
    net.peers[1].store.forget("smtp")
    net.run(A_WHILE)
    assert [peer.store.names() for peer in net.peers] == [[], [], []]


def test_what_somebody_knows_better_is_not_forgotten_for_good() -> None:
    net = Net(2)
    net.peers[0].write(trip)
    net.run(0.1)
    net.split([net.peers[0]], [net.peers[1]])
    net.peers[0].write(force_open)
    net.peers[1].store.forget("smtp")
    net.heal()
    net.run(A_SECOND)
    assert net.agreed()
    assert net.peers[1].record().mode is Mode.FORCED_OPEN


def test_what_is_in_use_at_another_is_not_forgotten_for_long() -> None:
    net = Net(3)
    net.peers[0].write(trip)
    net.run(0.1)
    net.peers[2].store.tally("smtp", Delta(calls=1), Window(span=60.0), generation=1, worker="w")
    net.peers[1].store.forget("smtp")
    net.run(A_SECOND)
    assert net.agreed()
    assert net.peers[1].record().state is State.OPEN


def test_failures_of_breakers_that_come_and_go_are_not_kept_for_ever() -> None:
    """A breaker that failed and never tripped has no record, so nobody ever forgets it."""
    clock = ManualClock(1_000_000.0)
    store = MessageStore(clock=clock)
    for number in range(100):
        store.note(f"webhook:{number}", Book.FAILURES, ["OSError()"])
    store.note("smtp", Book.HISTORY, ["opened"])
    clock.advance(2 * 86_400)
    store.note("webhook:new", Book.FAILURES, ["OSError()"])
    assert sorted(store._books) == [("smtp", Book.HISTORY), ("webhook:new", Book.FAILURES)]
    assert store.notes("webhook:1", Book.FAILURES) == []
    assert store.notes("smtp", Book.HISTORY) == ["opened"]


def test_windows_and_claims_that_are_over_are_not_kept() -> None:
    net = Net(1)
    store = net.peers[0].store
    for number in range(50):
        store.tally(f"host:{number}", Delta(calls=1), Window(span=60.0), generation=0, worker="w")
        store.lease(f"host:{number}:1:permit", "w", limit=1, ttl=60)
    net.clock.advance(3700)
    store.tally("smtp", Delta(calls=1), Window(span=60.0), generation=0, worker="w")
    assert (list(store._counts), store._claims) == (["smtp"], {})


# --- what comes from strangers ----------------------------------------------------------------------------------------

FOREIGN = [
    None, 7, "x", [], {}, {"by": 7}, {"by": "x", "said": 7}, {"by": "x", "said": [7]},
    {"by": "x", "said": [["{", 1, 1]]}, {"by": "x", "said": [['{"name":""}', 1, 1]]},
    {"by": "x", "said": [['{"name":"a\\u0000"}', 1, 1]]}, {"by": "x", "have": []}, {"by": "x", "have": {"": None}},
    {"by": "x", "have": {"smtp": [1, 2]}}, {"by": "x", "have": {}, "span": [1]},
    {"by": "x", "have": {}, "span": [7, None]}, {"by": "x", "claim": ["key"]},
    {"by": "x", "claim": ["key", "b", "now", 60]}, {"by": "x", "claim": ["key", "b", 1.0, math.nan]},
    {"by": "x", "claim": ["k" * 1000, "b", 1.0, 60]}, {"by": "x", "claim": [{}, "b", 1.0, 60]},
    {"by": "x", "free": "key"}, {"by": "x", "gone": ["smtp"]}, {"by": "x", "gone": ["smtp", [9]]},
    {"by": "x", "said": {"a": 1}}, {"by": "x", "said": [[json.dumps({"name": ["smtp"]}), 1, 1]]},
]  # fmt: skip


@pytest.mark.parametrize("note", FOREIGN, ids=str)
def test_what_is_foreign_or_half_written_is_ignored_and_said_once(
    note: object, caplog: pytest.LogCaptureFixture
) -> None:
    net = Net(2)
    peer = net.peers[0]
    peer.write(trip)
    before = peer.record()
    with caplog.at_level(logging.WARNING):
        assert peer.talk.hear(note) == peer.talk.hear(note) == set()
    assert len(caplog.records) == 1
    assert (peer.record(), peer.store.names()) == (before, ["smtp"])
    assert peer.store.lease("key", "a", limit=1, ttl=60)
    net.run(A_SECOND)


anything = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text() | st.integers(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=3),
)


@given(anything)
def test_no_part_of_a_message_can_raise(part: object) -> None:
    talk = Net(1).peers[0].talk
    for key in ("said", "have", "span", "ask", "answered", "claim", "free", "gone"):
        talk.hear({"by": "x", "have": {}, key: part})
        talk.due()


def test_what_a_newer_release_adds_is_ignored() -> None:
    net = Net(2)
    net.peers[0].write(trip)
    encoded, writes, word = net.peers[0].store.said(["smtp"])[0].encode()
    newer = {**json.loads(str(encoded)), "mood": "bad"}
    assert net.peers[1].talk.hear({"by": "p0", "said": [[json.dumps(newer), writes, word, "more"]], "new": 1})
    assert net.peers[1].record() == net.peers[0].record()


def test_deadlines_are_by_each_one_s_own_wall_clock() -> None:
    clock = ManualClock(100.0)
    store = MessageStore(clock=clock)
    clock.advance(5)
    assert store.now() == store.read([]).now == 105.0
