"""`@task`: turns a function into something a worker offers and the catalogue describes."""

from __future__ import annotations

import inspect
import math
import random
import re
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Generic, ParamSpec, TypeVar, get_type_hints, overload

from pydantic import BaseModel, ConfigDict, Field, PydanticUserError, TypeAdapter, create_model

from milepost.codec import dumps
from milepost.errors import BadReport, TaskDefinitionError
from milepost.plan import is_amount, plan_from_source
from milepost.secrets import Mask, has_secrets, secrets_in, without_secret_defaults
from milepost.secrets.marking import MarkingJsonSchema

P = ParamSpec("P")
R = TypeVar("R")

TASK_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-]{0,127}")
MOST_DELAY_SECONDS = 30 * 86_400
RESULT_BYTES = 64 << 20
"""The longest result, as JSON. What is larger belongs into a store of its own, and its place into the result."""

QUEUE_NAME = re.compile(r"[A-Za-z0-9_.\-]{1,64}")


class Retry(Exception):
    """Raise it in a task to have another attempt, after `after` seconds (default: the task's own backoff)."""

    def __init__(
        self, message: str = "The task asked for another attempt.", *, after: float | None = None
    ) -> None:
        """`after` is 0 to 2,592,000 seconds (30 days); raises `ValueError` when it is something else."""
        super().__init__(message)
        if after is not None and not is_amount(after, MOST_DELAY_SECONDS):
            raise ValueError(
                f"Retry(after={after!r}): give seconds from 0 to {MOST_DELAY_SECONDS:,}, which is 30 days."
            )
        self.after = after


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How a task is to be run. Times in seconds; see `task`."""

    timeout: float | None = None
    max_attempts: int = 1
    retry_on: tuple[type[BaseException], ...] = (Exception,)
    backoff: float = 1.0
    backoff_max: float = 300.0
    queue: str = "default"
    start_timeout: float | None = None
    concurrency: int | None = None
    steps: Mapping[str, float] | None = None
    process: bool = False
    memory_limit_mb: float | None = None

    def retry_delay(self, attempt: int, chance: Callable[[], float] = random.random) -> float:
        """Return the seconds to wait after `attempt` failed: exponential with full jitter."""
        return chance() * min(self.backoff_max, self.backoff * math.pow(2, min(attempt - 1, 60)))


class Task(Generic[P, R]):
    """A function that workers can run. Calling it runs it here and now, outside any job."""

    def __init__(self, function: Callable[P, R], name: str, options: Options) -> None:
        self.function, self.name, self.options = function, name, options
        self.is_async = inspect.iscoroutinefunction(function)
        self.__doc__ = function.__doc__
        self.__name__ = getattr(function, "__name__", name)
        self.__wrapped__ = function

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        return self.function(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<Task {self.name}>"

    @cached_property
    def description(self) -> str:
        return inspect.cleandoc(self.function.__doc__ or "")

    @cached_property
    def plan(self) -> Mapping[str, float]:
        """The steps and weights this task will have, as far as they can be known before it runs."""
        return self.options.steps if self.options.steps is not None else plan_from_source(self.function)

    @cached_property
    def params_schema(self) -> dict[str, Any]:
        """JSON Schema (2020-12) of the params."""
        try:
            schema = self._params_model.model_json_schema(schema_generator=MarkingJsonSchema)
        except PydanticUserError as error:
            raise self._not_json(error) from error
        return without_secret_defaults(schema)

    @cached_property
    def has_secrets(self) -> bool:
        """Whether some of the params are marked as secret, by pydantic's `SecretStr` and its kin."""
        return has_secrets(self.params_schema)

    def mask(self, params: Mapping[str, Any]) -> Mask | None:
        """Return what keeps the secrets among these params out of texts, valid or not; None where none are marked."""
        return Mask(secrets_in(dict(params), self.params_schema)) if self.has_secrets else None

    @cached_property
    def result_schema(self) -> dict[str, Any]:
        """JSON Schema (2020-12) of the result; {}, which says nothing, where the hint cannot be one."""
        try:
            return self._result_adapter.json_schema(mode="serialization")
        except PydanticUserError:
            return {}

    def arguments(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Return `params` checked and converted as the type hints say. Raises `pydantic.ValidationError`."""
        model = self._params_model.model_validate(dict(params))
        return {name: getattr(model, field) for name, field in self._fields.items()}

    def result_json(self, value: Any) -> str:
        """Return the result as JSON, by the return hint. Raises `BadReport` when it cannot be."""
        try:
            plain = self._result_adapter.dump_python(value, mode="json", warnings=False)
        except Exception as error:
            raise BadReport(
                f"Task {self.name!r} returned a {type(value).__name__} that cannot be sent as JSON: {error}"
            ) from error
        result = dumps(plain)
        if len(result) > RESULT_BYTES:
            raise BadReport(
                f"Task {self.name!r} returned {len(result):,} bytes of JSON; {RESULT_BYTES:,} are the most. "
                "Store the data elsewhere and return where it is."
            )
        return result

    @cached_property
    def _fields(self) -> dict[str, str]:
        # A parameter may have a name that pydantic keeps for itself (`json`, `copy`): fields get plain ones.
        return {name: f"p{n}" for n, name in enumerate(inspect.signature(self.function).parameters)}

    @cached_property
    def _params_model(self) -> type[BaseModel]:
        hints = self._hints
        fields: dict[str, Any] = {}
        for name, parameter in inspect.signature(self.function).parameters.items():
            if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD, parameter.POSITIONAL_ONLY):
                raise TaskDefinitionError(
                    f"Task {self.name!r} has the parameter {parameter}: params come by name, so write them out."
                )
            default = ... if parameter.default is parameter.empty else parameter.default
            fields[self._fields[name]] = (hints.get(name, Any), Field(default, alias=name, title=name))
        config = ConfigDict(extra="forbid", arbitrary_types_allowed=False, validate_default=False)
        try:
            return create_model(self.name, __config__=config, **fields)
        except PydanticUserError as error:
            raise self._not_json(error) from error

    def _not_json(self, error: Exception) -> TaskDefinitionError:
        why = str(error).partition("\n")[0]
        return TaskDefinitionError(f"Task {self.name!r} has a type hint that JSON cannot carry: {why}")

    @cached_property
    def _result_adapter(self) -> TypeAdapter[Any]:
        hint = self._hints.get("return", Any)
        # NaN stays NaN, for `dumps` to refuse: pydantic would quietly make null of it. Hints of models take no config.
        config = ConfigDict(ser_json_inf_nan="constants")
        with suppress(PydanticUserError):
            return TypeAdapter(hint, config=config)
        with suppress(PydanticUserError):
            return TypeAdapter(hint)
        return TypeAdapter(Any, config=config)

    @cached_property
    def _hints(self) -> dict[str, Any]:
        try:
            return get_type_hints(self.function, include_extras=True)
        except NameError as error:
            raise TaskDefinitionError(
                f"Task {self.name!r} has a type hint that cannot be resolved: {error}"
            ) from error


REGISTRY: dict[str, Task[..., Any]] = {}
"""Every task defined in this process, by name."""


@overload
def task(function: Callable[P, R], /) -> Task[P, R]: ...


@overload
def task(
    *,
    name: str | None = None,
    timeout: float | None = None,
    max_attempts: int = 1,
    retry_on: type[BaseException] | Iterable[type[BaseException]] = Exception,
    backoff: float = 1.0,
    backoff_max: float = 300.0,
    queue: str = "default",
    start_timeout: float | None = None,
    concurrency: int | None = None,
    steps: Mapping[str, float] | None = None,
    process: bool = False,
    memory_limit_mb: float | None = None,
) -> Callable[[Callable[P, R]], Task[P, R]]: ...


def task(
    function: Callable[..., Any] | None = None,
    /,
    *,
    name: str | None = None,
    timeout: float | None = None,
    max_attempts: int = 1,
    retry_on: type[BaseException] | Iterable[type[BaseException]] = Exception,
    backoff: float = 1.0,
    backoff_max: float = 300.0,
    queue: str = "default",
    start_timeout: float | None = None,
    concurrency: int | None = None,
    steps: Mapping[str, float] | None = None,
    process: bool = False,
    memory_limit_mb: float | None = None,
) -> Any:
    """Offer a function, `async def` or `def`, to clients under `name` (default: the function's own).

    timeout: seconds one attempt may take; None for no limit.
    max_attempts: how many attempts a job gets when its worker dies or it raises one of `retry_on`.
    backoff, backoff_max: seconds before the second attempt, doubled each time up to the maximum, with jitter.
    queue: where its jobs wait unless the submitter says otherwise.
    start_timeout: seconds after which a job that no worker has begun expires; None to wait for as long as it takes.
    concurrency: how many attempts of this task one worker runs at once; None for as many as it has slots.
    steps: the names and weights of its `progress.step`s, when they cannot be read from the source.
    process: whether each attempt runs in a process of its own, which can be killed and may die.
    memory_limit_mb: the most resident memory of that process, in megabytes (10^6 bytes); None for the worker's setting.

    Raises `TaskDefinitionError` when an option is wrong or another function has the name already.
    """
    retryable = tuple(retry_on) if isinstance(retry_on, Iterable) else (retry_on,)
    options = Options(
        timeout=timeout,
        max_attempts=max_attempts,
        retry_on=retryable,
        backoff=backoff,
        backoff_max=backoff_max,
        queue=queue,
        start_timeout=start_timeout,
        concurrency=concurrency,
        steps=steps,
        process=process,
        memory_limit_mb=memory_limit_mb,
    )

    def register(function: Callable[..., Any]) -> Task[..., Any]:
        made: Task[..., Any] = Task(function, name or str(getattr(function, "__name__", "")), options)
        _check(made)
        known = REGISTRY.get(made.name)
        if known is not None and _place(known.function) != _place(function):
            raise TaskDefinitionError(
                f"Two tasks are named {made.name!r}: {_place(known.function)} and {_place(function)}. Rename one."
            )
        REGISTRY[made.name] = made
        return made

    return register if function is None else register(function)


def _check(task: Task[..., Any]) -> None:
    name = task.name
    options: Any = task.options  # what was given, whatever the types ask for
    if not TASK_NAME.fullmatch(name):
        raise TaskDefinitionError(f"{name!r} is no task name: use letters, digits, '_', '.' and '-'.")
    if not QUEUE_NAME.fullmatch(options.queue):
        raise TaskDefinitionError(
            f"Task {name!r}: {options.queue!r} is no queue name: use letters, digits, '_', '.' and '-'."
        )
    if not isinstance(options.max_attempts, int) or options.max_attempts < 1:
        raise TaskDefinitionError(
            f"Task {name!r}: max_attempts is {options.max_attempts!r}, but one is the least."
        )
    if options.timeout is not None and not (is_amount(options.timeout) and options.timeout > 0):
        raise TaskDefinitionError(
            f"Task {name!r}: timeout is {options.timeout!r}, but it is seconds above 0, or None."
        )
    _check_start(name, options.start_timeout, options.concurrency)
    for option in ("backoff", "backoff_max"):
        if not is_amount(seconds := getattr(options, option), MOST_DELAY_SECONDS):
            raise TaskDefinitionError(
                f"Task {name!r}: {option} is {seconds!r}, but it is seconds from 0 to {MOST_DELAY_SECONDS:,}."
            )
    _check_process(name, options)
    for error in options.retry_on:
        if not (isinstance(error, type) and issubclass(error, BaseException)):
            raise TaskDefinitionError(
                f"Task {name!r}: retry_on names {error!r}, which is no exception class."
            )
    for step, weight in (options.steps or {}).items():
        if not (isinstance(step, str) and is_amount(weight)):
            raise TaskDefinitionError(
                f"Task {name!r}: steps has {step!r}: {weight!r}, but it maps names to weights from 0."
            )
    if inspect.isgeneratorfunction(task.function) or inspect.isasyncgenfunction(task.function):
        raise TaskDefinitionError(
            f"Task {name!r} yields, and nobody would take what it yields: call progress.output() instead."
        )
    # What cannot be sent or planned is refused at import, not at the first job.
    _ = task.params_schema, task.result_schema, task.plan


def _check_process(name: str, options: Any) -> None:
    if not isinstance(options.process, bool):
        raise TaskDefinitionError(f"Task {name!r}: process is {options.process!r}, but it is True or False.")
    limit = options.memory_limit_mb
    if limit is None:
        return
    if not (is_amount(limit) and limit > 0):
        raise TaskDefinitionError(
            f"Task {name!r}: memory_limit_mb is {limit!r}, but it is megabytes above 0, or None."
        )
    if not options.process:
        raise TaskDefinitionError(
            f"Task {name!r}: memory_limit_mb needs process=True. Tasks in threads and on the event loop share the "
            "worker's memory."
        )


def _check_start(name: str, start_timeout: Any, concurrency: Any) -> None:
    if start_timeout is not None and not (is_amount(start_timeout, MOST_DELAY_SECONDS) and start_timeout > 0):
        raise TaskDefinitionError(
            f"Task {name!r}: start_timeout is {start_timeout!r}, but it is seconds above 0 and at most "
            f"{MOST_DELAY_SECONDS:,}, or None."
        )
    if concurrency is not None and (type(concurrency) is not int or concurrency < 1):
        raise TaskDefinitionError(
            f"Task {name!r}: concurrency is {concurrency!r}, but one is the least, or None for no limit."
        )


def _place(function: Callable[..., Any]) -> str:
    return f"{function.__module__}.{function.__qualname__}"
