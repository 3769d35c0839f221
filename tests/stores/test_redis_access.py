"""How the Redis store gets in: TLS, passwords and users as Celery spells them, the rights it needs, and its keys."""

from __future__ import annotations

import logging
import re
import ssl
import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any
from urllib.parse import quote

import pytest
from celery import Celery

from celery_breaker.core.record import Record, State
from celery_breaker.core.windows import Delta, Window
from celery_breaker.errors import StoreError
from celery_breaker.settings import derive_store
from celery_breaker.stores.base import Store
from celery_breaker.stores.redis import RedisStore
from celery_breaker.stores.url import open_store
from tests.support.redis_topologies import Cluster, Sentinels, TlsServer
from tests.support.servers import RedisServer

OPEN = Record(name="smtp", state=State.OPEN, generation=3, since=1.0, until=2.0, trips=1, reason="5 of 5 calls failed")
WINDOW = Window(span=86_400.0)
FAILURE = Delta().then(failed=True, slow=False)

ODD = "s3cret:/?#[]@ %2F;&+=ü"
"""A password of which no character may be taken for something else."""

Opener = Callable[..., Store]
Make = Callable[..., RedisServer]
MakeTls = Callable[..., TlsServer]


@pytest.fixture
def opened() -> Iterator[Opener]:
    """`opened(url, **options)` → the store, closed with the test."""
    with ExitStack() as stack:

        def open_(url: str, **options: Any) -> Store:
            store = open_store(url, timeout=5.0, options=options)
            stack.callback(store.close)
            return store

        yield open_


@pytest.fixture
def derived(opened: Opener) -> Opener:
    """`derived(result_backend=…, broker_url=…, …)` → the store that follows from these settings of Celery's."""

    def open_(**conf: Any) -> Store:
        found = derive_store(
            conf.get("breaker_store"),
            result_backend=conf.get("result_backend"),
            broker_url=conf.get("broker_url"),
            conf=conf,
            broker_ssl=conf.get("broker_use_ssl"),
        )
        return opened(found.url, **found.options)

    return open_


def use_all(store: Store) -> None:
    """Each operation once; leaves nothing."""
    assert store.read(["smtp"]).records["smtp"].version == 0
    assert store.swap(OPEN, expected=0)
    assert store.tally("smtp", FAILURE, WINDOW, generation=3, worker="a").failures == 1
    assert store.tally("smtp", FAILURE, WINDOW, generation=4, worker="a").failures == 1
    assert store.lease("smtp:3:permit", "a", limit=1, ttl=60)
    assert not store.lease("smtp:3:permit", "b", limit=1, ttl=60)
    store.release("smtp:3:permit", "a")
    assert store.names() == ["smtp"]
    store.forget("smtp")
    assert store.now() > 0


# --- TLS --------------------------------------------------------------------------------------------------------------


def test_it_speaks_tls_with_an_authority_that_the_url_names(make_tls_redis: MakeTls, opened: Opener) -> None:
    server = make_tls_redis()
    use_all(opened(server.url_for(1, ssl_ca_certs=server.ca)))
    use_all(opened(server.url_for(1, ssl_ca_certs=server.ca).replace("rediss:", "valkeys:")))


def test_it_speaks_tls_with_an_authority_that_an_option_names(make_tls_redis: MakeTls, opened: Opener) -> None:
    server = make_tls_redis()
    use_all(opened(server.url_for(0), ssl={"ssl_ca_certs": str(server.ca)}))
    use_all(opened(f"redis://localhost:{server.tls_port}/0", ssl={"ssl_ca_certs": str(server.ca)}))


def test_an_authority_that_is_not_known_is_not_trusted(make_tls_redis: MakeTls, opened: Opener) -> None:
    server = make_tls_redis()
    with pytest.raises(StoreError, match=r"(?i)certificate"):
        opened(server.url_for(0)).now()


def test_a_server_without_tls_is_not_spoken_to_in_the_clear(redis_server: RedisServer) -> None:
    store = RedisStore(redis_server.url.replace("redis:", "rediss:"), timeout=1.0)
    with pytest.raises(StoreError):
        store.now()
    store.close()


@pytest.mark.parametrize("needed", [ssl.CERT_REQUIRED, "CERT_REQUIRED", "required"])
@pytest.mark.parametrize("whose", ["broker", "backend", "own"])
def test_celery_s_spelling_of_tls_is_understood(
    make_tls_redis: MakeTls, derived: Opener, whose: str, needed: object
) -> None:
    server = make_tls_redis()
    url, tls = f"rediss://localhost:{server.tls_port}/0", {"ssl_cert_reqs": needed, "ssl_ca_certs": str(server.ca)}
    use_all(
        {
            "broker": lambda: derived(broker_url=url, broker_use_ssl=tls),
            "backend": lambda: derived(broker_url="amqp://", result_backend=url, redis_backend_use_ssl=tls),
            "own": lambda: derived(broker_url=url, broker_use_ssl=tls, breaker_store=url[:-1] + "5"),
        }[whose]()
    )


@pytest.mark.parametrize("needed", ["CERT_REQUIRED", "required"])
def test_celery_s_spelling_of_tls_in_a_url_is_understood(make_tls_redis: MakeTls, derived: Opener, needed: str) -> None:
    server = make_tls_redis()
    url = server.url_for(0, ssl_cert_reqs=needed, ssl_ca_certs=quote(str(server.ca), safe=""))
    use_all(derived(result_backend=url))


@pytest.mark.parametrize("none", [ssl.CERT_NONE, "CERT_NONE", "none"])
def test_who_asks_for_no_certificate_gets_any(make_tls_redis: MakeTls, derived: Opener, none: Any) -> None:
    server = make_tls_redis(host="elsewhere.example")
    use_all(derived(broker_url=server.url_for(0), broker_use_ssl={"ssl_cert_reqs": none}))
    if isinstance(none, str):
        use_all(derived(result_backend=server.url_for(0, ssl_cert_reqs=none)))


def test_a_certificate_of_another_host_is_refused(make_tls_redis: MakeTls, opened: Opener) -> None:
    server = make_tls_redis(host="elsewhere.example")
    url = server.url_for(0, ssl_ca_certs=server.ca, ssl_check_hostname="true")
    with pytest.raises(StoreError, match=r"(?i)certificate"):
        opened(url).now()
    use_all(opened(url.replace("=true", "=false")))


def test_a_server_that_wants_certificates_of_its_clients_is_shown_one(make_tls_redis: MakeTls, opened: Opener) -> None:
    server = make_tls_redis(client_certificates=True)
    use_all(opened(server.url_for(0), ssl=server.options))
    use_all(opened(server.url_for(0, **server.options)))
    with pytest.raises(StoreError):
        opened(server.url_for(0, ssl_ca_certs=server.ca)).now()


# --- passwords --------------------------------------------------------------------------------------------------------


@pytest.fixture
def guarded(make_redis: Make) -> RedisServer:
    """A server whose every user has the password `ODD`."""
    server = make_redis()
    with server.client() as client:
        client.execute_command("ACL SETUSER", "o:p@s", "on", f">{ODD}", "~*", "+@all")
        client.execute_command("ACL SETUSER", "default", "resetpass", f">{ODD}")
    return server


def with_credentials(server: RedisServer, credentials: str) -> str:
    return server.url.replace("://", f"://{credentials}@")


USER, PASSWORD = quote("o:p@s", safe=""), quote(ODD, safe="")


@pytest.mark.parametrize("credentials", [f":{PASSWORD}", f"default:{PASSWORD}", f"{USER}:{PASSWORD}"])
@pytest.mark.parametrize("scheme", ["redis", "valkey"])
def test_passwords_come_from_the_url(guarded: RedisServer, opened: Opener, credentials: str, scheme: str) -> None:
    use_all(opened(with_credentials(guarded, credentials).replace("redis:", f"{scheme}:")))


def test_passwords_come_from_the_query(guarded: RedisServer, opened: Opener) -> None:
    use_all(opened(f"{guarded.url}?username={USER}&password={PASSWORD}"))


@pytest.mark.parametrize(
    ("credentials", "settings"),
    [
        ("", {"redis_password": ODD}),
        ("", {"redis_username": "o:p@s", "redis_password": ODD}),
        (USER, {"redis_password": ODD}),
        (f":{PASSWORD}", {"redis_username": "o:p@s"}),
        (f"{USER}:{PASSWORD}", {"redis_username": "nobody", "redis_password": "wr0ng"}),
    ],
)
def test_passwords_come_from_celery_s_settings_where_the_url_has_none(
    guarded: RedisServer, derived: Opener, credentials: str, settings: dict[str, str]
) -> None:
    url = with_credentials(guarded, credentials) if credentials else guarded.url
    app = Celery(set_as_current=False, broker="memory://", backend=url)
    app.conf.update(settings)
    store = derived(result_backend=url, **settings)
    use_all(store)
    assert isinstance(store, RedisStore)
    assert store._client.execute("ACL WHOAMI") == app.backend.client.acl_whoami(), "as Celery itself"
    app.backend.client.close()


def test_a_store_s_own_credentials_are_not_mixed_with_celery_s(guarded: RedisServer, derived: Opener) -> None:
    settings = {"result_backend": guarded.url, "redis_username": "nobody", "redis_password": "wr0ng"}
    use_all(derived(**settings, breaker_store=with_credentials(guarded, f":{PASSWORD}")))


def all_that_is_said(exc: BaseException | None) -> Iterator[str]:
    """Every text of an exception, and of what it came from, whether that is shown or not."""
    if exc is not None:
        yield from (str(exc), repr(exc), repr(exc.args), *traceback.format_exception(exc))
        yield from all_that_is_said(exc.__cause__)
        yield from all_that_is_said(exc.__context__)


def assert_secret(secrets: list[str], store: Store, caplog: pytest.LogCaptureFixture) -> None:
    """That it fails, and tells nobody what the password is."""
    with caplog.at_level(logging.DEBUG), pytest.raises(StoreError) as failure:
        store.now()
    said = [*all_that_is_said(failure.value), caplog.text, repr(store), str(store), store.url]
    spelled = [form for secret in secrets for form in (secret, quote(secret), quote(secret, safe=""))]
    assert [text for text in said if any(form in text for form in spelled)] == []


@pytest.mark.parametrize("password", ["wr0ng", "wr0ng:@/ %"])
def test_a_wrong_password_is_a_store_error_which_does_not_say_it(
    guarded: RedisServer, opened: Opener, caplog: pytest.LogCaptureFixture, password: str
) -> None:
    assert_secret([password], opened(with_credentials(guarded, f":{quote(password, safe='')}")), caplog)
    assert_secret([password], opened(guarded.url, username="default", password=password), caplog)


def test_a_wrong_password_of_sentinels_or_behind_them_is_not_said(
    make_sentinels: Callable[..., Sentinels], opened: Opener, caplog: pytest.LogCaptureFixture
) -> None:
    servers = make_sentinels(count=1)
    for server in (servers.sentinels[0], servers.master):
        with server.client() as client:
            client.execute_command("ACL SETUSER", "default", "resetpass", f">{ODD}")
    for theirs, password in (("wr0ng", "n0t-it"), (ODD, "n0t-it")):
        kwargs = {"username": "default", "password": theirs}
        store = opened(servers.url, **servers.options, password=password, sentinel_kwargs=kwargs)
        assert_secret([theirs, password], store, caplog)


def test_a_wrong_password_of_a_cluster_is_not_said(
    cluster: Cluster, opened: Opener, caplog: pytest.LogCaptureFixture
) -> None:
    assert_secret(["wr0ng"], opened(cluster.url.replace("://", "://nobody:wr0ng@", 1)), caplog)


# --- keys and rights --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("prefix", ["shop", "shop:", "shop_", "shop-", "shop."])
def test_a_global_prefix_is_joined_to_keys_as_celery_joins_it(make_redis: Make, derived: Opener, prefix: str) -> None:
    server = make_redis()
    conf = {"result_backend": server.url, "result_backend_transport_options": {"global_keyprefix": prefix}}
    app = Celery(set_as_current=False, broker="memory://", backend=server.url)
    app.conf.update(conf)
    theirs = app.backend.get_key_for_task("x").decode().partition("celery-task-meta-")[0]
    store = derived(**conf)
    assert store.swap(OPEN, expected=0)
    store.tally("smtp", FAILURE, WINDOW, generation=3, worker="a")
    store.lease("tend", "a", limit=1, ttl=60)
    with server.client() as client:
        kinds = ("names", "{smtp}:record", "{smtp}:window", "{tend}:lease")
        assert {key.decode() for key in client.keys("*")} == {f"{theirs}celery-breaker:{kind}" for kind in kinds}


def test_a_broker_s_global_prefix_is_taken_as_it_is(make_redis: Make, derived: Opener) -> None:
    server = make_redis()
    store = derived(broker_url=server.url, broker_transport_options={"global_keyprefix": "shop"})
    assert store.swap(OPEN, expected=0)
    with server.client() as client:
        assert sorted(client.keys("*")) == [b"shopcelery-breaker:names", b"shopcelery-breaker:{smtp}:record"]


def documented_rights() -> list[list[str]]:
    """What the store says that a user needs: everywhere, in another database, and on a cluster."""
    text = str(RedisStore.__doc__).partition("*Rights.*")[2].partition("Args:")[0]
    return [re.findall(r"\+[a-z|]+", part) for part in text.split(";")]


def test_a_user_needs_no_more_than_the_rights_that_are_documented(make_redis: Make, opened: Opener) -> None:
    everywhere, elsewhere, _ = documented_rights()
    server = make_redis()
    with server.client() as client:
        client.execute_command("ACL SETUSER", "app", "on", f">{ODD}", "~shop_celery-breaker:*", *everywhere)
        use_all(opened(with_credentials(server, f"app:{PASSWORD}"), global_keyprefix="shop_"))
        with pytest.raises(StoreError, match=r"(?i)no permissions|noperm"):
            opened(with_credentials(server, f"app:{PASSWORD}")).read(["smtp"])
        client.execute_command("ACL SETUSER", "app", *elsewhere)
        use_all(opened(with_credentials(server, f"app:{PASSWORD}").replace("/0", "/3"), global_keyprefix="shop_"))


def test_a_user_of_a_cluster_needs_no_more_than_the_rights_that_are_documented(
    cluster: Cluster, opened: Opener
) -> None:
    everywhere, _, clusters = documented_rights()
    for node in cluster.nodes:
        with node.client() as client:
            client.execute_command("ACL SETUSER", "app", "on", f">{ODD}", "~app:*", *everywhere, *clusters)
    use_all(opened(cluster.url.replace("://", f"://app:{PASSWORD}@", 1), global_keyprefix="app:"))
    for node in cluster.nodes:
        with node.client() as client:
            client.execute_command("ACL DELUSER", "app")
