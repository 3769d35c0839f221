"""What goes wrong in practice, looked for in what is known of an app. Pure: `facts` asks, this judges."""

from __future__ import annotations

from celery_breaker.plugin.doctor import pauses, policies, setup, times
from celery_breaker.plugin.doctor.case import Check, Facts, Finding, Severity

__all__ = ["CHECKS", "examine"]

CHECKS: tuple[Check, ...] = (
    *setup.CHECKS,
    *pauses.CHECKS,
    *times.CHECKS,
    *policies.CHECKS,
)


def examine(facts: Facts) -> list[Finding]:
    """All findings, problems first."""
    found = [finding for check in CHECKS for finding in check(facts)]
    return sorted(found, key=lambda finding: finding.severity is not Severity.PROBLEM)
