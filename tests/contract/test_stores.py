"""Every store of ours, held to the one contract. `CELERY_BREAKER_CHAOS=long` plays more histories, with more rounds."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import ClassVar

import pytest

from celery_breaker.stores.base import Store
from celery_breaker.stores.cas import CasStore, Key
from celery_breaker.stores.memcached import MemcachedStore
from celery_breaker.stores.memory import MemoryStore
from celery_breaker.stores.message import MessageStore
from celery_breaker.stores.redis import RedisStore
from celery_breaker.stores.sqlalchemy import SQLAlchemyStore
from celery_breaker.testing.contract import Opener, StoreContract
from tests.contract.conftest import fresh_prefix
from tests.support import django_stores
from tests.support.redis_topologies import Cluster, Sentinels
from tests.support.servers import RedisServer
from tests.support.servers_mariadb import MariaDBServer
from tests.support.servers_memcached import MemcachedServer
from tests.support.servers_postgres import PostgresServer

LONG = os.environ.get("CELERY_BREAKER_CHAOS") == "long"

pytestmark = pytest.mark.timeout(1800 if LONG else 300)


class Ours(StoreContract):
    examples: ClassVar[int] = 300 if LONG else 20
    rounds: ClassVar[int] = 200 if LONG else 30


# --- within one process -----------------------------------------------------------------------------------------------


class TestMemory(Ours):
    across_processes: ClassVar[bool] = False

    @pytest.fixture
    def opener(self) -> Opener:
        store = MemoryStore()
        return lambda: store


class TestMessage(Ours):
    """Who has no peers; what they tell each other is in tests/stores/test_message.py."""

    across_processes: ClassVar[bool] = False

    @pytest.fixture
    def opener(self) -> Opener:
        store = MessageStore()
        return lambda: store


# --- Redis ------------------------------------------------------------------------------------------------------------


class OnRedis(Ours):
    def plant(self, store: Store, name: str, version: int, text: str) -> None:
        assert isinstance(store, RedisStore)
        store._client.execute("SET", store._key(name, "record"), f"{version} {text}")
        store._client.execute("SADD", f"{store._prefix}:names", name)


class TestRedis(OnRedis):
    @pytest.fixture
    def opener(self, redis_server: RedisServer) -> Opener:
        return partial(RedisStore, redis_server.url, prefix=fresh_prefix(), timeout=5.0)


class TestRedisSentinel(OnRedis):
    @pytest.fixture
    def opener(self, sentinels: Sentinels) -> Opener:
        return partial(RedisStore, sentinels.url, prefix=fresh_prefix(), timeout=5.0, options=sentinels.options)


class TestRedisCluster(OnRedis):
    @pytest.fixture
    def opener(self, cluster: Cluster) -> Opener:
        return partial(RedisStore, cluster.url, prefix=fresh_prefix(), timeout=5.0)


# --- compare and set --------------------------------------------------------------------------------------------------


class OnValues(Ours):
    breakers: ClassVar[int] = 10_000 if LONG else 2_000  # each is several round trips

    def plant(self, store: Store, name: str, version: int, text: str) -> None:
        assert isinstance(store, CasStore)
        assert store._values.save(Key("record", name), f"{version} {text}", over=None, ttl=None)


class TestSQLAlchemyOnSQLite(OnValues):
    @pytest.fixture
    def opener(self, tmp_path: Path) -> Opener:
        return partial(SQLAlchemyStore, f"sqlite:///{tmp_path / 'breakers.sqlite'}", timeout=20.0)


class TestSQLAlchemyOnPostgreSQL(OnValues):
    @pytest.fixture
    def opener(self, postgres_server: PostgresServer) -> Opener:
        return partial(SQLAlchemyStore, postgres_server.url, prefix=fresh_prefix(), timeout=20.0)


class TestSQLAlchemyOnMariaDB(OnValues):
    @pytest.fixture
    def opener(self, mariadb_server: MariaDBServer) -> Opener:
        return partial(SQLAlchemyStore, mariadb_server.url, prefix=fresh_prefix(), timeout=20.0)


class TestDjangoOnSQLite(OnValues):
    @pytest.fixture
    def opener(self, tmp_path: Path) -> Opener:
        return django_stores.django_opener(django_stores.sqlite_entry(tmp_path / "breakers.sqlite"))


class TestDjangoOnPostgreSQL(OnValues):
    @pytest.fixture
    def opener(self, postgres_server: PostgresServer) -> Opener:
        return django_stores.django_opener(postgres_server.django)


class TestDjangoOnMariaDB(OnValues):
    @pytest.fixture
    def opener(self, mariadb_server: MariaDBServer) -> Opener:
        return django_stores.django_opener(mariadb_server.django)


class TestMemcached(OnValues):
    @pytest.fixture
    def opener(self, memcached_server: MemcachedServer) -> Opener:
        return partial(MemcachedStore, memcached_server.url, prefix=fresh_prefix(), timeout=5.0)
