"""How Hypothesis runs here: no deadline, since a busy machine is no bug, and few enough examples to stay quick.

`pytest tests/core tests/engine --hypothesis-profile=thorough --timeout=600` looks for longer.
"""

from __future__ import annotations

from hypothesis import HealthCheck, settings

settings.register_profile(
    "suite", deadline=None, max_examples=25, stateful_step_count=25, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("thorough", settings.get_profile("suite"), max_examples=2000, stateful_step_count=60)
_current = getattr(settings, "get_current_profile_name", lambda: settings._current_profile)  # Hypothesis before 6.130
if _current() in ("default", "ci"):
    settings.load_profile("suite")
