"""What the admin can do to breakers: the form that asks, the permission that it takes, and the doing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from django import forms

from celery_breaker.core.record import Mode
from celery_breaker.errors import ConfigurationError
from celery_breaker.status import Desk, actions
from celery_breaker.status.words import seconds_of, tasks

__all__ = ["DEEDS", "ActionForm", "do", "said"]


@dataclass(frozen=True, slots=True)
class Deed:
    """One thing that can be done: its name in the form, the permission, and whether it is done to several at once."""

    label: str
    permission: str
    many: bool = True


DEEDS: Mapping[str, Deed] = {
    "open": Deed("Force open", "steer"),
    "close": Deed("Close", "steer"),
    "reset": Deed("Reset", "steer"),
    "disable": Deed("Disable", "steer"),
    "observe": Deed("Observe", "steer"),
    "auto": Deed("Lift the override", "steer"),
    "release": Deed("Release parked tasks", "release"),
    "purge": Deed("Delete parked tasks", "purge", many=False),
}

_MODES = {"open": Mode.FORCED_OPEN, "disable": Mode.DISABLED, "observe": Mode.OBSERVING}


class ActionForm(forms.Form):  # type: ignore[misc]  # Django has no types
    """Which action, why and for how long; to delete tasks, the breaker's name again.

    Args:
        may: the actions that the user may take here.
        name: of the breaker, if there is only one.

    Attributes:
        allowed: labels by action; empty if the user may do nothing.
    """

    action = forms.ChoiceField()
    reason = forms.CharField(required=False, max_length=200)
    expires = forms.CharField(required=False, max_length=20, help_text="90, 15m, 2h or 1d; empty: until lifted.")
    count = forms.IntegerField(required=False, min_value=1, help_text="Of tasks to release; empty: all.")
    confirm = forms.CharField(required=False, help_text="To delete tasks, the breaker's name.")

    def __init__(self, *args: Any, may: Callable[[Deed], bool], name: str | None = None, **options: Any) -> None:
        super().__init__(*args, **options)
        self._name = name
        allowed = [(key, deed.label) for key, deed in DEEDS.items() if may(deed) and (deed.many or name is not None)]
        self.allowed = dict(allowed)
        self.fields["action"].choices = [("", "---------"), *allowed]
        if "purge" not in self.allowed:
            del self.fields["confirm"]

    def clean_expires(self) -> float | None:
        """Seconds."""
        text = self.cleaned_data["expires"]
        try:
            return seconds_of(text) if text else None
        except ConfigurationError as exc:
            raise forms.ValidationError(str(exc)) from None

    def clean(self) -> dict[str, Any]:
        """Deleting takes the name, typed."""
        cleaned: dict[str, Any] = super().clean()
        if cleaned.get("action") == "purge" and cleaned.get("confirm") != self._name:
            raise forms.ValidationError("To delete parked tasks, type the name of the breaker.")
        return cleaned


def do(desk: Desk, name: str, asked: Mapping[str, Any], *, by: str) -> str:
    """Do it, and say what was done; the journal names ``by``. Raises what the desk's methods raise."""
    action, reason = asked["action"], asked["reason"]
    if action == "release":
        return f"{tasks(desk.release(name, asked['count'], by=by))} released"
    if action == "purge":
        return f"{tasks(desk.purge(name, by=by))} deleted"
    if mode := _MODES.get(action):
        desk.act(name, actions.force(mode, by=by, reason=reason, expires_in=asked["expires"]))
    elif action == "auto":
        desk.act(name, actions.auto(by=by))
    else:
        desk.act(name, {"close": actions.close, "reset": actions.reset}[action](by=by, reason=reason))
    return said(asked)


def said(asked: Mapping[str, Any]) -> str:
    """An action in words, for messages and for Django's log."""
    until = f" for {asked['expires']:g} s" if asked["expires"] and asked["action"] in _MODES else ""
    why = f": {asked['reason']}" if asked["reason"] and asked["action"] != "auto" else ""
    return f"{DEEDS[asked['action']].label}{until}{why}"
