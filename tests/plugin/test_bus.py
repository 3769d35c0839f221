"""The bus in one process: what it leaves behind."""

from __future__ import annotations

from celery import Celery

from celery_breaker.plugin.bus.bus import Bus, fanout


def test_a_bus_that_has_stopped_keeps_no_connection() -> None:
    app = Celery("tests", broker="memory://", set_as_current=False)
    bus = Bus(app, exchange=fanout("tests.news"), heard=lambda body: None)
    bus.send({"name": "smtp"})
    assert bus.flush(10)
    connection = bus._sending
    assert connection is not None
    assert connection.connected
    bus.stop()
    assert not connection.connected
