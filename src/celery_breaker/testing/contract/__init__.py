"""What a store must do, as a class of tests: subclass `StoreContract` and run it with pytest.

It needs pytest and Hypothesis: ``pip install 'celery-breaker[testing]'``.
"""

from __future__ import annotations

try:
    import hypothesis  # noqa: F401
    import pytest
except ImportError as exc:
    raise ImportError(
        f"celery_breaker.testing.contract needs {exc.name}; pip install 'celery-breaker[testing]'", name=exc.name
    ) from None

# Before they are imported: a failing assert then shows what was compared.
_PARTS = ("access", "journals", "leases", "model", "processes", "races", "records", "releases", "tally")
pytest.register_assert_rewrite(*(f"{__name__}.{part}" for part in _PARTS))

from celery_breaker.testing.contract.access import Opener  # noqa: E402  see above
from celery_breaker.testing.contract.suite import StoreContract  # noqa: E402

__all__ = ["Opener", "StoreContract"]
