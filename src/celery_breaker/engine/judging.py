"""How a call that ended counts: what the policy and the user's own code say of it."""

from __future__ import annotations

import logging

from celery_breaker.core.classify import is_slow, judge, judge_result, retry_after_of
from celery_breaker.core.verdict import Verdict
from celery_breaker.engine.registry import Outcome
from celery_breaker.engine.view import Ticket

__all__ = ["UNKNOWN", "outcome_of"]

logger = logging.getLogger(__name__)

UNKNOWN = object()
"""The result of a call whose result is elsewhere: ``classify`` is not asked about that."""


def outcome_of(
    ticket: Ticket, *, exception: BaseException | None, result: object = None, duration: float | None
) -> Outcome:
    """What a call that ended says. A ``classify`` that raises is logged and leaves the usual rules. Never raises."""
    policy = ticket.cell.policy
    try:
        if exception is not None:
            verdict = judge(exception, policy)
        else:
            verdict = Verdict.SUCCESS if result is UNKNOWN else judge_result(result, policy)
    except Exception:
        name = ticket.cell.name
        logger.exception("classify of breaker %r failed; the usual rules apply", name, extra={"breaker": name})
        verdict = Verdict.SUCCESS if exception is None else Verdict.FAILURE
    failed = verdict is Verdict.FAILURE
    slow = verdict is not Verdict.NEUTRAL and is_slow(duration, policy)
    if slow and policy.slow_call_rate is None:
        verdict = Verdict.FAILURE
    if verdict is not Verdict.FAILURE:
        return Outcome(ticket, verdict, slow=slow)
    reason = f"a call took {duration:.1f} s" if exception is None and slow else _shown(exception)
    if exception is None and not slow:
        reason = "a result was classified as a failure"
    return Outcome(ticket, verdict, slow=slow, reason=reason, asked=retry_after_of(exception), failed=failed)


def _shown(exception: BaseException | None) -> str:
    try:
        return repr(exception)[:200]
    except Exception:  # it is somebody else's code that runs here
        return type(exception).__name__
