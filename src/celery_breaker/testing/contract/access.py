"""How the contract gets at the store under test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import ClassVar

import pytest

from celery_breaker.core.windows import Delta
from celery_breaker.stores.base import Store
from celery_breaker.testing.jobs import DAY, FAILURE

__all__ = ["DAY", "FAILURE", "SUCCESS", "Opener", "StoreAccess"]

Opener = Callable[[], Store]

SUCCESS = Delta().then(failed=False, slow=False)


class StoreAccess:
    """What all parts of the contract share; a subclass overrides `opener`, and where it must, the rest."""

    across_processes: ClassVar[bool] = True
    """Whether other processes see the same data. Where not, the tests that start processes are skipped."""

    examples: ClassVar[int] = 20
    """How many random histories are played on the store and on the memory store."""

    rounds: ClassVar[int] = 50
    """How often each of 16 processes does the same at once."""

    breakers: ClassVar[int] = 10_000
    """How many breakers are written, listed and read in one go."""

    @pytest.fixture
    def opener(self) -> Opener:
        """What opens the store as another process would, on data that no other test has touched.

        Each call within a test opens the same data anew. It is sent to other processes, so it can be pickled:
        `functools.partial` of a class or of a function at the top of a module.
        """
        raise NotImplementedError("override the fixture `opener`")

    def plant(self, store: Store, name: str, version: int, text: str) -> None:
        """Leave ``text`` in the store as what was written as this version of the record of this breaker.

        Not overridden, the tests of what an older or a newer release wrote are skipped.
        """
        pytest.skip(f"{type(self).__name__} does not override `plant`")

    @pytest.fixture
    def connect(self, opener: Opener) -> Iterator[Opener]:
        """Opens the store anew; what was opened is closed after the test."""
        opened: list[Store] = []

        def connect() -> Store:
            opened.append(opener())
            return opened[-1]

        yield connect
        for store in opened:
            store.close()

    @pytest.fixture
    def store(self, connect: Opener) -> Store:
        """The store, opened once."""
        return connect()
