"""All parts of the contract in one class."""

from __future__ import annotations

from celery_breaker.testing.contract.access import StoreAccess
from celery_breaker.testing.contract.journals import JournalContract
from celery_breaker.testing.contract.leases import LeaseContract
from celery_breaker.testing.contract.model import ModelContract
from celery_breaker.testing.contract.processes import ProcessContract
from celery_breaker.testing.contract.races import RaceContract
from celery_breaker.testing.contract.records import RecordContract
from celery_breaker.testing.contract.releases import ReleaseContract
from celery_breaker.testing.contract.tally import TallyContract

__all__ = ["StoreContract"]


class StoreContract(
    RecordContract,
    TallyContract,
    LeaseContract,
    JournalContract,
    RaceContract,
    ProcessContract,
    ReleaseContract,
    ModelContract,
    StoreAccess,
):
    """All that is asked of a store. A subclass overrides the fixture ``opener``, and, where it must, what is below.

    Attributes:
        across_processes: false for a store that other processes do not see; skips the tests that start some.
        examples: how many random histories are played on the store and on the memory store.
        rounds: how often each of 16 processes does the same at once.
        breakers: how many breakers are written, listed and read in one go.

    Example:
        A file ``test_my_store.py``; ``MyStore(url, prefix)`` is the store, which it tests in about half a minute::

            from functools import partial
            from uuid import uuid4

            import pytest
            from celery_breaker.testing.contract import Opener, StoreContract

            from my_package import MyStore


            class TestMyStore(StoreContract):
                @pytest.fixture
                def opener(self) -> Opener:
                    return partial(MyStore, "my://localhost", prefix=uuid4().hex)

                def plant(self, store, name, version, text):
                    store.client.write(name, f"{version} {text}")  # as MyStore itself would
    """
