"""Keys, values and URLs of the memcached store."""

from __future__ import annotations

import json
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from celery_breaker.stores.memcached_forms import (
    SHARDS,
    key_of,
    names_in,
    names_text,
    packed,
    servers_in,
    shard_of,
    unpacked,
)

text = st.text(max_size=300)
owners = st.tuples(
    st.sampled_from(["a", "a:record", "b b", "", "ü"]) | text, st.sampled_from(["record", "window"]), text
)


# --- keys -------------------------------------------------------------------------------------------------------------


@given(owners)
def test_every_key_is_one_that_memcached_takes(owner: tuple[str, str, str]) -> None:
    key = key_of(*owner)
    assert 0 < len(key) <= 250
    assert all("!" <= letter <= "~" for letter in key)


@given(owners, owners)
def test_what_differs_has_keys_that_differ(one: tuple[str, str, str], other: tuple[str, str, str]) -> None:
    assert (key_of(*one) == key_of(*other)) is (one == other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("a", "record", "record:x"), ("a:record", "record", "x")),
        (("a", "record", "x"), ("a", "window", "x")),
        (("p", "record", "日" * 200), ("p", "record", "日" * 199 + "本")),
        (("p", "record", "a"), ("p", "record", "a ")),
    ],
)
def test_keys_that_could_be_mixed_up_are_not(one: tuple[str, str, str], other: tuple[str, str, str]) -> None:
    assert key_of(*one) != key_of(*other)


def test_an_ordinary_name_can_be_read_in_its_key() -> None:
    assert key_of("celery-breaker", "window", "webhook:example.org") == "celery-breaker:window:webhook:example.org"
    assert "smtp" not in key_of("celery-breaker", "record", "smtp" * 60)


# --- values -----------------------------------------------------------------------------------------------------------


@given(owners, text)
def test_a_value_comes_back(owner: tuple[str, str, str], value: str) -> None:
    assert unpacked(*owner, packed(*owner, value)) == value


@given(owners, owners, text)
def test_a_value_of_another_key_is_not_ours(one: tuple[str, str, str], other: tuple[str, str, str], value: str) -> None:
    assert unpacked(*other, packed(*one, value)) == (value if one == other else "")


def test_a_long_value_is_compressed_and_comes_back() -> None:
    value = json.dumps({f"worker-{number}@host": number for number in range(100_000)})
    data = packed("p", "window", "smtp", value)
    assert len(data) < len(value) / 3
    assert unpacked("p", "window", "smtp", data) == value


OURS = packed("p", "record", "smtp", "x")
BOMB = b"z" + zlib.compress(OURS + b"0" * 65 * 1024 * 1024, 9)
CUT = b"z" + zlib.compress(OURS)[:-3]


@pytest.mark.parametrize(
    "data",
    [b"", b"z", b"garbage", b"\xff\xfe", b"zgarbage", OURS[1:], OURS[:-2], OURS + b"\xff", CUT, BOMB],
    ids=range(10),
)
def test_what_is_not_ours_is_nothing(data: bytes) -> None:
    assert unpacked("p", "record", "smtp", data) == ""


# --- the list of names ------------------------------------------------------------------------------------------------


@given(st.sets(text))
def test_names_come_back(names: set[str]) -> None:
    assert names_in(names_text(names)) == names


@pytest.mark.parametrize("garbage", ["", "{", "7", "{}", "null", "[" * 100_000, '[1, null, ["a"]]'])
def test_a_list_that_is_none_has_no_names(garbage: str) -> None:
    assert names_in(garbage) == set()


def test_names_spread_over_all_parts_of_the_list() -> None:
    sizes = dict.fromkeys((str(number) for number in range(SHARDS)), 0)
    for number in range(10_000):
        sizes[shard_of(f"webhook:{number}")] += 1
    assert len(sizes) == SHARDS
    assert max(sizes.values()) < 80


def test_ten_thousand_of_the_longest_names_fit() -> None:
    """Were all eighty of the fullest part of 200 characters that JSON writes in twelve bytes each."""
    names = {chr(0x10000 + number) * 200 for number in range(80)}
    assert len(names_text(names).encode()) < 1024 * 1024 / 2


# --- URLs -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "servers"),
    [
        ("memcached://cache", [("cache", 11211)]),
        ("memcached://CACHE:1234/", [("cache", 1234)]),
        ("memcached://b:2,a:1", [("a", 1), ("b", 2)]),
        (
            "cache+memcached://172.19.26.240:11211;172.19.26.242:11211/",
            [("172.19.26.240", 11211), ("172.19.26.242", 11211)],
        ),
        ("cache+pymemcache://a:1;a:1;", [("a", 1)]),
        ("pylibmc://a:1/;b:2/", [("a", 1), ("b", 2)]),
        ("memcached://[::1]:11212", [("::1", 11212)]),
        ("memcached:///run/memcached.sock", ["/run/memcached.sock"]),
        ("cache+memcached://unix:/run/memcached.sock", ["/run/memcached.sock"]),
    ],
)
def test_a_url_names_servers(url: str, servers: list[object]) -> None:
    assert servers_in(url) == servers


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("memcached://", "names no server"),
        ("memcached:///", "names no server"),
        ("memcached://host:port", "'host:port' is not a host and its port"),
        ("memcached://a:1:2", "not a host"),
        ("memcached://a:65536", "not a host"),
        ("memcached://a:0", "not a host"),
        ("memcached://a/b", "not a host"),
        ("memcached://[::1", "not a host"),
        ("memcached://a:1?timeout=3", "no options"),
        ("memcached://user:secret@a:1", "leave out user and password"),
    ],
)
def test_a_url_that_cannot_be_understood_is_refused_in_words(url: str, said: str) -> None:
    with pytest.raises(ValueError, match=said) as refusal:
        servers_in(url)
    assert "secret" not in str(refusal.value)
