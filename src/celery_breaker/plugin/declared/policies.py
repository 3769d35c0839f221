"""Which task names which breaker, and with what policy: the app's configuration and its tasks, put together."""

from __future__ import annotations

import fnmatch
import logging
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from celery.utils.imports import symbol_by_name

from celery_breaker.core.names import check_name, fields_of
from celery_breaker.core.policy import ON_OPEN, Policy
from celery_breaker.errors import ConfigurationError
from celery_breaker.plugin.declared.arguments import parameters_of
from celery_breaker.plugin.declared.on_publish import OnPublish, resolved, said_by
from celery_breaker.plugin.declared.paths import callable_at

if TYPE_CHECKING:
    from celery import Celery

    from celery_breaker.plugin.aliases import AnyTask

__all__ = ["OUR_OWN", "Policies", "collect", "names_on"]

logger = logging.getLogger(__name__)

OUR_OWN = ("celery.", "celery_breaker.")
"""What names of tasks begin with that are Celery's or this package's: a wildcard does not mean them."""

_PATHS = ("classify", "health_check", "on_open", "backoff")


@dataclass(slots=True)
class Policies:
    """The policy of every declared name or template, and the templates that each task is guarded by.

    Attributes:
        declared: policies by name or template, like ``"webhook:{host}"``.
        guarded: templates by task name; tasks that are not guarded are not in it.
        queue_of: the queue that a task goes to, see `Catalogue`.
        attached: templates that the settings give to a task of this name, known here or not.
        else_on_publish: what becomes of a task that is published while its breaker is open, if it does not say itself.
    """

    declared: dict[str, Policy] = field(default_factory=dict)
    guarded: dict[str, tuple[str, ...]] = field(default_factory=dict)
    queue_of: Callable[[str], str] = lambda task: ""
    attached: Callable[[str], tuple[str, ...]] = lambda task: ()
    else_on_publish: OnPublish = "send"
    _patterns: list[tuple[re.Pattern[str], str]] = field(default_factory=list)

    def of(self, name: str) -> Policy:
        """The policy of a name: its own, else that of a template it could come from, else the defaults."""
        if name in self.declared:
            return self.declared[name]
        for pattern, template in self._patterns:
            if pattern.fullmatch(name):
                return self.declared[template]
        return Policy()

    def knows(self, name: str) -> bool:
        """Whether the name is declared, or could come from a template."""
        return name in self.declared or any(pattern.fullmatch(name) for pattern, _ in self._patterns)

    def guarding(self, name: str) -> list[str]:
        """The tasks that this breaker, or breakers of this template, guard."""
        return [task for task, names in self.guarded.items() if name in names]

    def names(self) -> list[str]:
        """Declared names that are not templates."""
        return [name for name in self.declared if not fields_of(name)]

    def add(self, template: str, policy: Policy) -> None:
        """Declare a policy."""
        self.declared[template] = policy
        if fields_of(template):
            literal = re.split(r"\{[^{}]*\}", template)
            self._patterns.append((re.compile(".+".join(map(re.escape, literal)), re.DOTALL), template))


def names_on(task: AnyTask) -> tuple[str, ...]:
    """The breakers that a task's own ``breaker`` attribute names.

    Raises:
        ConfigurationError: the attribute is neither a name nor a list of names.
    """
    value = getattr(task, "breaker", None)
    if value is None or value == "":
        return ()
    names = (value,) if isinstance(value, str) else value
    if not isinstance(names, Iterable) or not all(isinstance(name, str) for name in names):
        raise ConfigurationError(f"task {task.name}: breaker={value!r} must be a name or a list of names")
    return tuple(dict.fromkeys(names))


def collect(app: Celery, breakers: Mapping[str, Mapping[str, object]], *, on_publish: OnPublish = "send") -> Policies:
    """Read all tasks and settings of an app; finalizes it.

    What the settings say of a breaker goes over what its tasks say, option by option.

    Raises:
        ConfigurationError: an option, a name or a path is wrong, or two tasks contradict each other.
    """
    policies = Policies(
        queue_of=partial(_queue_of, app), attached=partial(_attached, breakers), else_on_publish=resolved(on_publish)
    )
    said: dict[str, _Said] = {name: _Said() for name in breakers}
    for _, task in sorted(app.tasks.items()):
        names = names_on(task)
        own = getattr(task, "breaker_options", None) or {}
        if own and not names:
            raise ConfigurationError(f"task {task.name} has breaker_options but names no breaker; set breaker=")
        for name in names:
            said[name] = said.get(name, _Said()).and_by(task.name, name, own)
        if guarded := tuple(dict.fromkeys(names + policies.attached(task.name))):
            policies.guarded[task.name] = guarded
            if (choice := said_by(task)) is not None:
                resolved(choice, of=task.name)
        for name in guarded:
            _check_template(task, name)
    _warn_of_idle_patterns(app, breakers)
    for name, by_tasks in said.items():
        options = {**by_tasks.options, **breakers.get(name, {})}
        options.pop("tasks", None)
        policies.add(name, _policy(name, options))
    return policies


@dataclass(frozen=True, slots=True)
class _Said:
    """What tasks say of a breaker, and the first that said it."""

    options: Mapping[str, object] = field(default_factory=dict)
    task: str = ""

    def and_by(self, task: str, name: str, options: Mapping[str, object]) -> _Said:
        if not options or dict(options) == dict(self.options):
            return self
        if self.options:
            raise ConfigurationError(
                f"tasks {self.task} and {task} give breaker {name!r} different options "
                f"({_differing(self.options, options)}); give them in one place, best in the breakers setting"
            )
        return _Said(options, task)


def _warn_of_idle_patterns(app: Celery, breakers: Mapping[str, Mapping[str, object]]) -> None:
    for name, conf in breakers.items():
        for pattern in conf.get("tasks", ()):  # type: ignore[attr-defined]
            if not fnmatch.filter(app.tasks, str(pattern)):
                logger.warning("breakers[%r]['tasks']: %r matches no task", name, pattern)


def _differing(one: Mapping[str, object], other: Mapping[str, object]) -> str:
    keys = [key for key in {**one, **other} if one.get(key) != other.get(key)]
    return ", ".join(f"{key}: {one.get(key)!r} and {other.get(key)!r}" for key in keys)


def _check_template(task: AnyTask, name: str) -> None:
    try:
        fields = fields_of(check_name(name))
    except ConfigurationError as exc:
        raise ConfigurationError(f"task {task.name}: {exc}") from None
    if fields:
        parameters = parameters_of(task)
        missing = [name for name in fields if parameters is not None and name not in parameters]
        if missing:
            raise ConfigurationError(
                f"task {task.name}: breaker {name!r} needs the argument {missing[0]!r}, which the task does not take"
            )


def _attached(breakers: Mapping[str, Mapping[str, object]], task_name: str) -> tuple[str, ...]:
    return tuple(name for name, conf in breakers.items() if _matches(task_name, conf, name))


def _matches(task_name: str, conf: Mapping[str, object], name: str) -> bool:
    patterns = conf.get("tasks", ())
    if isinstance(patterns, str) or not isinstance(patterns, Iterable):
        raise ConfigurationError(f"breakers[{name!r}]['tasks'] must be a list of task names, like ['mail.*']")
    if task_name.startswith(OUR_OWN):
        return task_name in patterns
    return any(fnmatch.fnmatchcase(task_name, str(pattern)) for pattern in patterns)


def _policy(name: str, options: Mapping[str, object]) -> Policy:
    try:
        check_name(name)
        resolved = {key: _resolved(key, value) for key, value in options.items()}
        policy = Policy.from_options(resolved)
    except ConfigurationError as exc:
        raise ConfigurationError(f"breaker {name!r}: {exc}") from None
    return policy


def _queue_of(app: Celery, task: str) -> str:
    """Routers are the user's code, and may need the arguments of a call."""
    try:
        queue = app.amqp.router.route({"queue": getattr(app.tasks.get(task), "queue", None)}, task)["queue"]
    except Exception:
        logger.debug("the queue of %s is not known", task, exc_info=True)
        return ""
    return str(getattr(queue, "name", queue))


def _exception_class(item: object) -> object:
    """An exception's class by its dotted name; what cannot be imported here stays a name, and is matched as one."""
    if not isinstance(item, str) or "." not in item:
        return item
    try:
        return symbol_by_name(item)
    except (ImportError, AttributeError, ValueError) as exc:
        logger.warning("exception %r cannot be imported, so it matches by this very name alone: %s", item, exc)
        return item


def _resolved(key: str, value: object) -> object:
    """Dotted paths of callables and exceptions as what they name."""
    if key in ("failures", "ignore") and isinstance(value, (list, tuple, str)):
        return tuple(_exception_class(item) for item in ((value,) if isinstance(value, str) else value))
    if key not in _PATHS or not isinstance(value, str) or ("." not in value and ":" not in value):
        return value
    if key == "on_open" and value in ON_OPEN:
        return value
    return callable_at(value, option=key)
