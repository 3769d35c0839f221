"""Parking queues have names that SQS takes, and no two breakers share one."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from celery_breaker.core.names import is_name
from celery_breaker.errors import ConfigurationError
from celery_breaker.plugin.parking import lot as parking
from celery_breaker.plugin.parking.sqs_names import PREFIX, QUARANTINE, parking_queue, unlisted

TEXT = st.text(min_size=1, max_size=200).filter(is_name)
NAMES = TEXT | st.from_regex(r"[a-z]{0,3}[-._:]?[0-9a-f]{16}", fullmatch=True)
PREFIXES = st.from_regex(r"[a-zA-Z0-9_.-]{0,37}", fullmatch=True)


@given(name=NAMES, prefix=PREFIXES)
def test_every_name_is_one_that_sqs_takes(name: str, prefix: str) -> None:
    for fifo in (False, True):
        queue = prefix.replace(".", "-") + parking_queue(name, fifo=fifo, prefix=prefix)
        assert len(queue) <= 80
        assert re.fullmatch(r"[A-Za-z0-9_-]+(\.fifo)?", queue)
        assert queue.endswith(".fifo") is fifo


@given(one=NAMES, other=NAMES, prefix=PREFIXES)
def test_no_two_breakers_share_a_queue(one: str, other: str, prefix: str) -> None:
    assert (one == other) is (parking_queue(one, prefix=prefix) == parking_queue(other, prefix=prefix))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("a.b", "a-b"),
        ("a:b", "a_b"),
        ("é", "è"),
        ("x" * 100, "x" * 101),
        ("web hook", "web_hook"),
        ("a:b", parking_queue("a:b").removeprefix(PREFIX)),
    ],
)
def test_names_that_kombu_or_a_cut_would_make_one(one: str, other: str) -> None:
    assert parking_queue(one) != parking_queue(other)


@given(name=NAMES, prefix=PREFIXES)
def test_kombu_leaves_the_name_as_it_is(name: str, prefix: str) -> None:
    entity_name = pytest.importorskip("kombu.transport.SQS").Channel.entity_name
    queue = parking_queue(name, prefix=prefix)
    assert entity_name(None, prefix + queue) == prefix.replace(".", "-").replace(":", "_") + queue


def test_a_plain_name_is_what_kombu_makes_of_the_one_on_other_transports() -> None:
    entity_name = pytest.importorskip("kombu.transport.SQS").Channel.entity_name
    assert entity_name(None, parking.parking_queue("smtp")) == parking_queue("smtp")
    assert entity_name(None, parking.QUARANTINE) == QUARANTINE


def test_a_prefix_that_leaves_no_room_is_refused() -> None:
    parking_queue("x" * 50, fifo=True, prefix="p" * 37)
    with pytest.raises(ConfigurationError, match="queue_name_prefix has 38 characters, and parking queues leave it 37"):
        parking_queue("smtp", prefix="p" * 38)


def test_queues_that_have_to_be_listed() -> None:
    listed = {"celery": {}, "app-celery_breaker-parked-smtp": {}, "app-celery_breaker-quarantine": {}}
    assert unlisted(listed, ["smtp"], kinds=[False], prefix="app-") == []
    assert unlisted(listed, ["smtp"], kinds=[False, True], prefix="app-") == ["app-celery_breaker-parked-smtp.fifo"]
    assert unlisted({"celery": {}}, [], kinds=[False]) == [], "nothing is parked"
    assert unlisted({}, ["smtp"], kinds=[False]) == [], "kombu makes queues as it needs them"
