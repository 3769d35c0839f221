"""The settings that this package reads from a Celery app: names, defaults, and what they may be."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from celery_breaker.errors import ConfigurationError, suggestion
from celery_breaker.settings.derive import Derived, derive_store
from celery_breaker.settings.on_publish import check_on_publish

__all__ = ["DEFAULTS", "Derived", "Settings", "derive_store"]

DEFAULTS: Mapping[str, object] = {
    "breakers": None,
    "breaker_store": None,
    "breaker_store_options": None,
    "breaker_store_prefix": "celery-breaker",
    "breaker_store_timeout": 1.0,
    "breaker_refresh_interval": 1.0,
    "breaker_tend_interval": 5.0,
    "breaker_tend_queue": None,
    "breaker_bus": True,
    "breaker_on_publish": "send",
    "breaker_metrics_port": None,
    "breaker_metrics_address": "0.0.0.0",  # noqa: S104 -- as Prometheus clients do: whoever scrapes is elsewhere
    "breaker_opentelemetry": False,
}
"""Every setting with its default. With Django each is written ``CELERY_…`` in capitals."""

_SECONDS = ("breaker_store_timeout", "breaker_refresh_interval", "breaker_tend_interval")
_SWITCHES = ("breaker_bus", "breaker_opentelemetry")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The settings of one app, checked.

    Attributes:
        breakers: options of each breaker by name; ``tasks`` lists names of tasks to attach, with wildcards.
        store: URL, or ``None`` to derive one; not in the representation, for it may hold a password.
        store_options: what a store takes beside its URL, such as ``{"master_name": "mymaster"}``.
        store_prefix: first part of every key in the store.
        store_timeout: seconds that one round trip to the store may take.
        refresh_interval: seconds between reads of the followed breakers.
        tend_interval: seconds between two rounds of the agent.
        tend_queue: queue of beat's message to the agent; ``None`` is the app's default queue.
        bus: announce transitions over a fanout exchange of the broker.
        on_publish: what becomes of a task that is published while its breaker is open, where the task does not say.
        metrics_port: at which each worker can be scraped by Prometheus; ``None`` opens none.
        metrics_address: where that port listens.
        opentelemetry: give figures and span events to OpenTelemetry.
    """

    breakers: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    store: str | None = field(default=None, repr=False)
    store_options: Mapping[str, object] = field(default_factory=dict, repr=False)
    store_prefix: str = "celery-breaker"
    store_timeout: float = 1.0
    refresh_interval: float = 1.0
    tend_interval: float = 5.0
    tend_queue: str | None = None
    bus: bool = True
    on_publish: str | Callable[..., object] = "send"
    metrics_port: int | None = None
    metrics_address: str = "0.0.0.0"  # noqa: S104
    opentelemetry: bool = False

    @classmethod
    def from_conf(cls, conf: Mapping[str, object]) -> Settings:
        """Read and check the settings of an app.

        Raises:
            ConfigurationError: a setting has a value that cannot work.
        """
        for key in conf:
            if str(key).startswith("breaker") and key not in DEFAULTS:
                raise ConfigurationError(f"unknown setting {key!r}{suggestion(str(key), tuple(DEFAULTS))}")
        values = {name: conf.get(name, default) for name, default in DEFAULTS.items()}
        for name in _SECONDS:
            value = values[name]
            if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 < value < float("inf"):
                raise ConfigurationError(f"{name}={value!r} must be a number of seconds above 0")
        for name in _SWITCHES:
            if not isinstance(values[name], bool):  # "false" would be true
                raise ConfigurationError(f"{name}={values[name]!r} must be True or False")
        if not isinstance(values["breaker_store_prefix"], str):
            raise ConfigurationError(f"breaker_store_prefix={values['breaker_store_prefix']!r} must be a text")
        check_on_publish(values["breaker_on_publish"])
        port = values["breaker_metrics_port"]
        if port is not None and (not isinstance(port, int) or isinstance(port, bool) or not 0 < port < 65536):
            raise ConfigurationError(f"breaker_metrics_port={port!r} must be a port, 1 to 65535, or None")
        breakers = values.pop("breakers") or {}
        if not isinstance(breakers, Mapping) or not all(isinstance(options, Mapping) for options in breakers.values()):
            raise ConfigurationError('breakers must map names to options, like {"smtp": {"max_failures": 5}}')
        store = values["breaker_store"]
        if store is not None and not isinstance(store, str):
            raise ConfigurationError(
                f"breaker_store is {type(store).__name__}; it must be a URL, or None to derive one"
            )
        options = values["breaker_store_options"] = values["breaker_store_options"] or {}
        if not isinstance(options, Mapping):
            raise ConfigurationError("breaker_store_options must map names to values, like {'master_name': 'mymaster'}")
        fields = {name.removeprefix("breaker_"): value for name, value in values.items()}
        return cls(breakers=breakers, **fields)  # type: ignore[arg-type]
