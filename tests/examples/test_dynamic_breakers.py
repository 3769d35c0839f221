"""docs/examples/dynamic_breakers.py does what the page says."""

from __future__ import annotations

from celery_breaker.plugin.app import breakers_of
from tests.examples import load


def test_a_host_of_its_own_has_options_of_its_own_in_place_of_the_template_s() -> None:
    example = load("dynamic_breakers")
    policies = breakers_of(example.app).policies
    assert policies.guarded[example.notify.name] == ("webhook:{host}",)
    other, slow = policies.of("webhook:a.example"), policies.of("webhook:slow.example")
    assert (other.max_failures, other.max_deferral_age) == (3, 86_400)
    assert (slow.recovery_timeout, slow.max_deferral_age, slow.max_failures) == (300, None, 5)
    assert policies.knows("webhook:never.seen")
