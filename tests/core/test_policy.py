"""The policy: what it takes, what it refuses, and how it says so."""

from __future__ import annotations

import dataclasses

import pytest

from celery_breaker.core.policy import Policy
from celery_breaker.core.windows import Window
from celery_breaker.errors import ConfigurationError

OPTIONS = [field.name for field in dataclasses.fields(Policy)]


def test_the_defaults_are_those_of_the_documentation() -> None:
    policy = Policy()
    assert (policy.max_failures, policy.failure_rate, policy.window) == (5, 0.5, Window(span=60.0))
    assert (policy.recovery_timeout, policy.max_recovery_timeout, policy.jitter) == (30.0, 900.0, 0.1)
    assert (policy.half_open_calls, policy.success_threshold, policy.probe_timeout) == (1, 1, None)
    assert (policy.consecutive_failures, policy.slow_call_duration, policy.slow_call_rate) == (None, None, None)
    assert (policy.min_workers, policy.scope, policy.backoff, policy.on_open) == (1, "fleet", "exponential", "park")
    assert (policy.failures, policy.ignore, policy.classify) == ((Exception,), (), None)
    assert (policy.max_deferrals, policy.max_deferral_age) == (None, None)
    assert (policy.defer_failures, policy.retry_budget) == (False, None)


def test_a_policy_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Policy().max_failures = 1  # type: ignore[misc]


def test_equal_options_make_equal_policies() -> None:
    assert Policy(max_failures=3, failures=OSError) == Policy.from_options({"max_failures": 3, "failures": (OSError,)})


@pytest.mark.parametrize("option", OPTIONS)
def test_an_unknown_option_suggests_the_nearest(option: str) -> None:
    with pytest.raises(ConfigurationError, match=f"unknown option '{option}s'; did you mean '{option}'"):
        Policy.from_options({option + "s": 1})


def test_an_option_like_no_other_lists_those_there_are() -> None:
    with pytest.raises(ConfigurationError, match=r"unknown option 'zzz'; known are max_failures, .*ramp_start"):
        Policy.from_options({"zzz": 1})


def test_an_option_that_is_no_word_is_refused_in_words() -> None:
    with pytest.raises(ConfigurationError, match="unknown option 5"):
        Policy.from_options({5: 1})  # type: ignore[dict-item]


@pytest.mark.parametrize(
    ("option", "value"),
    [
        *((name, value) for name in ("max_failures", "min_workers") for value in (0, -1, 1.5, True, "3", None)),
        *((name, value) for name in ("half_open_calls", "success_threshold") for value in (0, 2.0, None)),
        *((name, value) for name in ("consecutive_failures", "max_deferrals") for value in (0, -1, 1.0, False)),
        *(
            (name, value)
            for name in ("recovery_timeout", "max_recovery_timeout")
            for value in (0, -1, None, "30", True)
        ),
        *((name, value) for name in ("recovery_timeout", "ramp_start") for value in (float("nan"), float("inf"))),
        *(
            (name, value)
            for name in ("slow_call_duration", "probe_timeout", "max_deferral_age")
            for value in (0, -1, "1")
        ),
        *((name, value) for name in ("failure_rate", "jitter") for value in (-0.1, 1.1, float("nan"), None, True)),
        *(("failure_window", value) for value in (0, -1, "soon", "0 calls", "60", None, float("inf"), float("nan"))),
        *(("backoff", value) for value in ("quadratic", 2, None, ["linear"])),
        *(("scope", value) for value in ("host", None, 1)),
        *(("on_open", value) for value in ("paws", "parc", 1, None)),
        *(("failures", value) for value in (5, (int,), [OSError()])),
        *(("ignore", value) for value in (None, (None,))),
        ("classify", "failure"),
        ("health_check", "ping"),
        ("health_check", 5),
        *(("defer_failures", value) for value in (1, None, "yes")),
        *(("retry_budget", value) for value in (-0.1, 1.5, True, "0.1", float("nan"))),
        *(("ramp_start", value) for value in (0, None)),
        *(("admit_ramp", value) for value in (1, "yes", None)),
    ],
)
def test_a_value_that_cannot_work_is_refused_and_named(option: str, value: object) -> None:
    with pytest.raises(ConfigurationError, match=f"^{option}=") as refusal:
        Policy.from_options({option: value})
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (
            {"recovery_timeout": 60, "max_recovery_timeout": 30},
            "max_recovery_timeout=30 is below recovery_timeout=60; raise the one or lower the other",
        ),
        (
            {"slow_call_rate": 0.5},
            "slow_call_rate needs slow_call_duration; set it to the seconds that make a call slow",
        ),
        (
            {"slow_call_rate": 0, "slow_call_duration": 1},
            "slow_call_rate=0 would trip on any call; leave it out or set a share above 0",
        ),
        ({"slow_call_rate": 1.5, "slow_call_duration": 1}, "slow_call_rate=1.5 must be between 0 and 1"),
        (
            {"failure_window": "4 calls", "max_failures": 5},
            "failure_window='4 calls' holds fewer calls than max_failures=5, so it could never trip; widen the window",
        ),
        (
            {"retry_budget": 0.1, "failure_window": "100 calls"},
            (
                "retry_budget needs a window of time, but failure_window='100 calls' counts calls; "
                "give failure_window in seconds"
            ),
        ),
        ({"scope": "worker", "min_workers": 2}, "scope='worker' never sees a second worker; drop min_workers"),
        ({"on_open": 1}, "on_open=1 is neither one of park, retry, pause, fail nor callable"),
        (
            {"on_open": "pause", "admit_ramp": True},
            "on_open='pause' leaves tasks in their queue, and admit_ramp would park them; drop one of the two",
        ),
    ],
)
def test_options_that_contradict_each_other_are_refused(options: dict[str, object], says: str) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        Policy.from_options(options)
    assert str(refusal.value) == says


@pytest.mark.parametrize(("option", "value"), [("backoff", max), ("health_check", "shop.ping"), ("health_check", bool)])
def test_some_options_take_a_callable_or_its_path(option: str, value: object) -> None:
    assert getattr(Policy.from_options({option: value}), option) is value


def test_a_misspelt_on_open_suggests_the_nearest() -> None:
    with pytest.raises(ConfigurationError, match="did you mean 'retry'"):
        Policy(on_open="retri")


@pytest.mark.parametrize("value", ["park", "retry", "pause", "fail", "shop.tasks.later", print])
def test_on_open_takes_a_word_a_callable_or_a_dotted_path(value: object) -> None:
    assert Policy.from_options({"on_open": value}).on_open is value


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (OSError, (OSError,)),
        ("builtins.OSError", ("builtins.OSError",)),
        ([OSError, "smtplib.SMTPException"], (OSError, "smtplib.SMTPException")),
        ((), ()),
    ],
)
def test_exceptions_are_given_alone_or_in_a_list(given: object, kept: tuple[object, ...]) -> None:
    assert Policy.from_options({"failures": given}).failures == kept


def test_policies_name_the_options_in_which_they_differ() -> None:
    assert Policy().differences(Policy(max_failures=3, scope="worker")) == ("max_failures", "scope")
    assert Policy().differences(Policy()) == ()


def test_a_count_window_as_wide_as_max_failures_can_trip() -> None:
    for span in range(1, 120):
        assert Policy(max_failures=span, failure_window=f"{span} calls").window.span == span
