"""The breakers of one Celery app: its settings, policies and registry, each made at first use."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from celery.utils.nodenames import gethostname

from celery_breaker.core.events import Change
from celery_breaker.core.policy import Policy
from celery_breaker.core.record import State
from celery_breaker.engine.registry import Registry
from celery_breaker.plugin import exports, signals
from celery_breaker.plugin.bus.bus import Bus, has_fanout, hints
from celery_breaker.plugin.bus.peers import BusPeers
from celery_breaker.plugin.declared.policies import Policies, collect
from celery_breaker.plugin.fleet import AppFleet
from celery_breaker.plugin.parking.lot import Lot
from celery_breaker.plugin.parking.opening import open_lot
from celery_breaker.plugin.parking.yard import AppYard
from celery_breaker.plugin.unproxied import unproxied
from celery_breaker.settings import Derived, Settings, derive_store
from celery_breaker.status import Desk
from celery_breaker.stores.memory import MemoryStore
from celery_breaker.stores.message import MessageStore
from celery_breaker.stores.url import open_store

if TYPE_CHECKING:
    from celery import Celery
    from kombu import Connection

    from celery_breaker.metrics.otel import Instrumented

__all__ = ["AppBreakers", "breakers_of"]

logger = logging.getLogger(__name__)

_SIGNALS = {
    State.OPEN: signals.breaker_opened,
    State.HALF_OPEN: signals.breaker_half_opened,
    State.CLOSED: signals.breaker_closed,
}


class AppBreakers:
    """Settings, policies, store and registry of one app. Thread-safe.

    Attributes:
        on_forget: called when what was made of the settings is dropped.

    Example:
        In a shell of the project::

            breakers_of(app).derived.why  # "the results backend is Redis"
    """

    def __init__(self, app: Celery) -> None:
        self.app = app
        self.on_forget: list[Callable[[], object]] = []
        self._lock = threading.RLock()
        self._settings: Settings | None = None
        self._policies: Policies | None = None
        self._registry: Registry | None = None
        self._bus: Bus | BusPeers | None = None
        self._instrumented: Instrumented | None = None
        self._stand_in: Callable[[Callable[[str], Policy]], Registry] | None = None

    @property
    def settings(self) -> Settings:
        """The app's settings. Raises `ConfigurationError`."""
        if self._settings is None:
            self._settings = Settings.from_conf(self.app.conf)
        return self._settings

    @property
    def derived(self) -> Derived:
        """Which store, and why."""
        if self.rehearsed:
            return Derived(MemoryStore.url, "a test keeps them in memory")
        conf, settings, connection = self.app.conf, self.settings, self.app.connection_for_write()
        derived = derive_store(
            settings.store,
            result_backend=conf.result_backend if isinstance(conf.result_backend, str) else None,
            broker_url=";".join(connection.alt) or connection.as_uri(include_password=True),
            conf=conf,
            broker_ssl=connection.ssl,
            options=settings.store_options,
        )
        if derived.url.startswith(MessageStore.url) and (why := self._speechless(connection)):
            return replace(derived, shared=False, why=f"{derived.why}, but each worker is left to itself: {why}")
        return derived

    def _speechless(self, connection: Connection) -> str:
        """Why the workers of a message store cannot tell each other anything; empty if they can."""
        if not self.settings.bus:
            return "breaker_bus is off"
        kind = connection.transport.driver_type
        return "" if has_fanout(connection) else f"the {kind} transport has no fanout; set breaker_store to share"

    @property
    def policies(self) -> Policies:
        """Policies of all breakers; reads every task, so the app is finalized. Raises `ConfigurationError`."""
        with self._lock:
            if self._policies is None:
                self._policies = collect(self.app, self.settings.breakers, on_publish=self.settings.on_publish)
            return self._policies

    @property
    def registry(self) -> Registry:
        """The registry of this process. Raises `ConfigurationError`."""
        with self._lock:
            if self._registry is None:
                self._registry = registry = self._stand_in(self._policy_of) if self._stand_in else self._open_registry()
                registry.listeners.append(self._signal)
                if not self.rehearsed:
                    self._bus = self._open_bus(registry) if self.settings.bus and self.derived.shared else None
                    self._instrumented = exports.opentelemetry(registry, self.settings)
            return self._registry

    def _open_registry(self) -> Registry:
        settings, derived = self.settings, self.derived
        store = open_store(
            derived.url, prefix=settings.store_prefix, timeout=settings.store_timeout, options=derived.options
        )
        registry = Registry(
            store,
            policy_of=self._policy_of,
            refresh=settings.refresh_interval,
            worker=gethostname(),
            tended=True,
        )
        registry.link.heard(time.time())  # until the store has said what time it is
        return registry

    def stand_in(self, make: Callable[[Callable[[str], Policy]], Registry] | None) -> None:
        """From the next use on, keep the breakers in a registry that ``make`` makes, given the policies; for tests.

        ``None`` goes back to what the settings say.
        """
        with self._lock:
            self.forget()
            self._stand_in = make

    @property
    def rehearsed(self) -> bool:
        """Whether a test has the breakers in its hands: no agent tends them then."""
        return self._stand_in is not None

    def _open_bus(self, registry: Registry) -> Bus | BusPeers:
        store = registry.link.shared
        if not isinstance(store, MessageStore):
            return hints(self.app, registry)
        settings = self.settings
        return BusPeers(
            self.app, store, prefix=settings.store_prefix, timeout=settings.store_timeout, registry=registry
        )

    @property
    def bus(self) -> Bus | BusPeers | None:
        """What the registry's changes are told on, unless there is nobody to tell."""
        _ = self.registry
        return self._bus

    def _policy_of(self, name: str) -> Policy:
        return self.policies.of(name)

    @property
    def desk(self) -> Desk:
        """Where breakers are seen and steered; a new one each time, on one registry. Raises `ConfigurationError`."""
        derived = self.derived
        return Desk(
            self.registry,
            self.policies,
            AppYard(self.app, self.open_lot),
            AppFleet(self.app),
            why=derived.why,
            shared=derived.shared,
            tend_interval=self.settings.tend_interval,
        )

    def open_lot(self) -> Lot:
        """A new lot on the app's broker; does not connect yet."""
        return open_lot(self.app)

    def _signal(self, change: Change) -> None:
        if change.state_before is not change.state_after:
            _SIGNALS[change.state_after].send(sender=self.app, name=change.name, change=change)

    def reread(self) -> None:
        """Read the tasks and their policies anew at the next use; breakers that are in use keep theirs."""
        with self._lock:
            self._policies = None

    def after_fork(self) -> None:
        """Make the copy in a forked child usable."""
        self._lock = threading.RLock()

    def forget(self) -> None:
        """Stop the registry and read the settings anew at the next use; for tests and reconfigured apps."""
        with self._lock:
            if self._registry is not None:
                self._registry.close()
            if self._bus is not None:
                self._bus.stop()
            if self._instrumented is not None:
                self._instrumented.stop()
            self._settings = self._policies = self._registry = self._bus = self._instrumented = None
            for dropped in self.on_forget:
                dropped()


def _after_fork() -> None:
    """A thread of the parent may have held the lock."""
    for breakers in list(_apps.values()):
        breakers.after_fork()


os.register_at_fork(after_in_child=_after_fork)

_apps: WeakKeyDictionary[Celery, AppBreakers] = WeakKeyDictionary()


def breakers_of(app: Celery) -> AppBreakers:
    """The breakers of an app, made at first use. Thread-safe; connects to nothing.

    Example:
        >>> from celery import Celery
        >>> app = Celery("shop", broker="memory://", set_as_current=False)
        >>> app.conf.update(breakers={"smtp": {"max_failures": 3}}, breaker_store="memory://")
        >>> "smtp" in breakers_of(app).desk.names()
        True
    """
    app = unproxied(app)
    breakers = _apps.get(app)
    if breakers is None:
        breakers = _apps.setdefault(app, AppBreakers(app))
    return breakers
