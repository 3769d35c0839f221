"""Errors: one root, messages that are sentences, and no loss on the way through a pickle or a result backend."""

from __future__ import annotations

import copy
import pickle

import pytest
from celery import Celery
from celery.backends.base import Backend

from celery_breaker import errors
from celery_breaker.errors import BreakerError, BreakerOpen, ConfigurationError, StoreError

OPEN = [BreakerOpen("smtp", 12.5), BreakerOpen("smtp", None), BreakerOpen("Zürich 🏦")]


def test_all_errors_have_one_root() -> None:
    for name in errors.__all__:
        assert issubclass(getattr(errors, name), BreakerError)
    assert issubclass(ConfigurationError, ValueError)


@pytest.mark.parametrize("error", OPEN)
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_refusal_survives_pickling(error: BreakerOpen, protocol: int) -> None:
    again = pickle.loads(pickle.dumps(error, protocol))
    assert type(again) is BreakerOpen
    assert (again.name, again.retry_after, str(again)) == (error.name, error.retry_after, str(error))


@pytest.mark.parametrize("error", OPEN)
def test_a_refusal_can_be_copied(error: BreakerOpen) -> None:
    again = copy.deepcopy(error)
    assert (again.name, again.retry_after, again.args) == (error.name, error.retry_after, error.args)


@pytest.mark.parametrize("error", [ConfigurationError("no such option"), StoreError("db: timed out"), BreakerError()])
def test_the_others_survive_pickling(error: BreakerError) -> None:
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), again.args) == (type(error), error.args)


@pytest.mark.parametrize("error", OPEN)
@pytest.mark.parametrize("serializer", ["json", "pickle"])
def test_a_refusal_survives_a_result_backend(error: BreakerOpen, serializer: str) -> None:
    app = Celery(set_as_current=False)
    app.conf.accept_content = [serializer]
    backend = Backend(app=app, serializer=serializer)
    stored = backend.decode(backend.encode(backend.prepare_exception(error)))
    again = backend.exception_to_python(stored)
    assert isinstance(again, BreakerOpen)
    assert (again.name, again.retry_after) == (error.name, error.retry_after)


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (BreakerOpen("smtp", 12.34), "breaker 'smtp' is open, next call in 12.3 s"),
        (BreakerOpen("smtp", 0.0), "breaker 'smtp' is open, next call in 0.0 s"),
        (BreakerOpen("smtp"), "breaker 'smtp' is open"),
    ],
)
def test_a_refusal_is_a_sentence(error: BreakerOpen, text: str) -> None:
    assert str(error) == text
