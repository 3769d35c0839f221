"""What goes wrong in practice, looked for in what is known of an app. Pure: `doctor_facts` asks, this judges."""

from __future__ import annotations

from celery_breaker.plugin import doctor_pauses, doctor_policies, doctor_setup, doctor_times
from celery_breaker.plugin.doctor_case import Check, Facts, Finding, Severity

__all__ = ["CHECKS", "examine"]

CHECKS: tuple[Check, ...] = (
    *doctor_setup.CHECKS,
    *doctor_pauses.CHECKS,
    *doctor_times.CHECKS,
    *doctor_policies.CHECKS,
)


def examine(facts: Facts) -> list[Finding]:
    """All findings, problems first."""
    found = [finding for check in CHECKS for finding in check(facts)]
    return sorted(found, key=lambda finding: finding.severity is not Severity.PROBLEM)
