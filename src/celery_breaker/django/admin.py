"""Breakers in Django's admin, wherever they are kept: a list, a page for each, and what one can do to them.

Nothing here reads Django's database for breakers: the pages ask the desk of the project's Celery app.
"""

# Django has no types, and pyright's guesses at them from its code are wrong in places.
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportOptionalMemberAccess=false
# pyright: reportIncompatibleMethodOverride=false

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, replace
from datetime import datetime, timezone
from typing import Any

from django.apps import apps
from django.contrib import admin, messages
from django.contrib.admin.utils import quote, unquote
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import NoReverseMatch, reverse

from celery_breaker.core.journal import Entry
from celery_breaker.core.windows import Totals
from celery_breaker.django.actions import DEEDS, ActionForm, Deed, do
from celery_breaker.django.desk import desk
from celery_breaker.django.models import Breaker
from celery_breaker.errors import BreakerError, BrokerError, UnknownBreakerError
from celery_breaker.status import Desk, Status, urgent_first, words

__all__ = ["BreakerAdmin"]

_PAGE = 100
_PARKED = 50
"""Parked tasks that a page shows."""

_STATES = ("open", "half_open", "closed")


@admin.register(Breaker)
class BreakerAdmin(admin.ModelAdmin):  # type: ignore[misc]  # Django has no types
    """Breakers to look at, with ``view_breaker``, and to act on, with the permissions of `Breaker`."""

    # --- who may what -------------------------------------------------------------------------------------------------

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Never: a breaker begins with its first use."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: object = None) -> bool:
        """Never: what can be done has permissions of its own."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: object = None) -> bool:
        """Never."""
        return False

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Breaker:
        """A name; whether there is such a breaker, only the store can say."""
        return Breaker(name=object_id)

    def _may(self, request: HttpRequest, deed: Deed) -> bool:
        return bool(request.user.has_perm(f"{self.opts.app_label}.{deed.permission}_breaker"))

    def _form(self, request: HttpRequest, name: str | None = None) -> ActionForm | None:
        """The form of what this user may do here, filled with what they asked for; ``None`` if they may do nothing."""
        form = ActionForm(request.POST or None, may=lambda deed: self._may(request, deed), name=name)
        return form if form.allowed else None

    # --- pages --------------------------------------------------------------------------------------------------------

    def changelist_view(self, request: HttpRequest, extra_context: Mapping[str, Any] | None = None) -> HttpResponse:
        """All breakers, the urgent first; by name and state."""
        self._require_view(request)
        form = self._form(request)
        if request.method == "POST":
            self._act(request, form, request.POST.getlist("name"))
            return HttpResponseRedirect(request.get_full_path())
        wanted, state = request.GET.get("q", ""), request.GET.get("state", "")
        found: list[Status] = []
        with _told(request):
            found = _all(desk(), wanted, state if state in _STATES else "")
        page = Paginator(found, _PAGE).get_page(request.GET.get("p"))
        with _told(request):
            page.object_list = _with_windows(desk(), page.object_list) if found else []
        context = {
            **self._context(request, "Breakers"),
            "page": page,
            "rows": [_row(status) for status in page.object_list],
            "form": form,
            "q": wanted,
            "state": state,
            "states": [(key, words.STATES[key]) for key in _STATES],  # type: ignore[index]
            "results": _results_link(request),
            **(extra_context or {}),
        }
        return TemplateResponse(request, "admin/celery_breaker/breaker/list.html", context)

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: Mapping[str, Any] | None = None,
    ) -> HttpResponse:
        """One breaker: what is known of it, its history, its last failures and some of its parked tasks."""
        self._require_view(request)
        name = unquote(object_id)
        form = self._form(request, name)
        if request.method == "POST" and self._act(request, form, [name]):
            return HttpResponseRedirect(request.get_full_path())
        shown: dict[str, Any] = {}
        try:
            with _told(request, but=UnknownBreakerError):
                shown = _one(desk(), name)
        except UnknownBreakerError as exc:
            messages.warning(request, str(exc))
            return HttpResponseRedirect(reverse(f"{self.admin_site.name}:celery_breaker_breaker_changelist"))
        context = {
            **self._context(request, name),
            **shown,
            "breaker": name,
            "object_id": quote(name),
            "form": form,
            "results": _results_link(request),
            **(extra_context or {}),
        }
        return TemplateResponse(request, "admin/celery_breaker/breaker/one.html", context)

    def _require_view(self, request: HttpRequest) -> None:
        if not self.has_view_permission(request):
            raise PermissionDenied

    def _context(self, request: HttpRequest, title: str) -> dict[str, Any]:
        return {**self.admin_site.each_context(request), "title": title, "opts": self.opts, "media": self.media}

    # --- doing --------------------------------------------------------------------------------------------------------

    def _act(self, request: HttpRequest, form: ActionForm | None, names: Iterable[str]) -> bool:
        """Do what the form says to each; whether it could be read. Messages say what became of it."""
        if form is None or (
            request.POST.get("action") in DEEDS and not self._may(request, DEEDS[request.POST["action"]])
        ):
            raise PermissionDenied
        if not form.is_valid():
            for errors in form.errors.values():
                messages.error(request, " ".join(errors))
            return False
        names = list(dict.fromkeys(names))
        if not names:
            messages.warning(request, "No breaker was chosen")
        for name in names:
            with _told(request, before=f"Breaker {name!r}: "):
                at = desk()
                at.require(name, private=form.cleaned_data["action"] in ("release", "purge"))
                done = do(at, name, form.cleaned_data, by=request.user.get_username())
                self.log_change(request, Breaker(name=name), done)
                messages.success(request, f"Breaker {name!r}: {done}")
        return True


# --- what is shown ----------------------------------------------------------------------------------------------------


@contextmanager
def _told(request: HttpRequest, *, before: str = "", but: type[BreakerError] | tuple[()] = ()) -> Iterator[None]:
    """What goes wrong becomes a message on the page."""
    try:
        yield
    except but:
        raise
    except BreakerError as exc:
        messages.error(request, f"{before}{exc}")


def _all(at: Desk, wanted: str, state: str) -> list[Status]:
    """Those that are wanted, without a look at the window of each."""
    names = [name for name in at.names() if wanted.lower() in name.lower()]
    found = urgent_first(at.statuses(names, totals=lambda _cell: Totals(now=0.0)))
    return [status for status in found if not state or status.state == state]


def _with_windows(at: Desk, statuses: Iterable[Status]) -> list[Status]:
    known = {status.name: status for status in statuses}
    return [
        replace(status, parked=known[status.name].parked, oldest_parked=known[status.name].oldest_parked)
        for status in at.statuses(known, patience=0)
    ]


def _row(status: Status) -> dict[str, Any]:
    return {
        "name": status.name,
        "quoted": quote(status.name),
        "state": words.state_words(status),
        "since": words.human(status.since) if status.since is not None else "",
        "next_call": words.next_call(status),
        "window": f"{status.failures} of {status.calls}" if status.calls else "0",
        "parked": words.parked_words(status),
        "oldest": words.human(status.oldest_parked) if status.oldest_parked is not None else "",
        "why": words.override_words(status) or ("" if status.admits else words.plain(status.reason)),
    }


def _one(at: Desk, name: str) -> dict[str, Any]:
    """All that is known of a breaker."""
    at.require(name)
    [status] = at.statuses([name])
    parked, unseen = [], ""
    try:
        parked = at.parked(name, count=_PARKED) if status.parked else []
    except BrokerError as exc:
        unseen = str(exc)
    return {
        "row": _row(status),
        "status": status,
        "tasks": at.tasks_of(name),
        "workers": sorted(status.workers.items()),
        "history": [_entry(entry) for entry in at.history(name)],
        "failures": [_entry(entry) for entry in at.failures(name)],
        "parked": [{**asdict(task), "since": _time(task.since)} for task in parked],
        "parked_unseen": unseen,
    }


def _entry(entry: Entry) -> dict[str, Any]:
    return {**asdict(entry), "at": _time(entry.at), "event": str(entry.event)}


def _time(at: float) -> datetime | None:
    try:
        return datetime.fromtimestamp(at, timezone.utc) if at else None
    except (OverflowError, OSError, ValueError):
        return None


def _results_link(request: HttpRequest) -> str:
    """Where django-celery-results lists deferred tasks; empty where it does not, or not for this user."""
    if not apps.is_installed("django_celery_results"):
        return ""
    if not request.user.has_perm("django_celery_results.view_taskresult"):
        return ""
    try:
        return f"{reverse('admin:django_celery_results_taskresult_changelist')}?status__exact=DEFERRED"
    except NoReverseMatch:
        return ""
