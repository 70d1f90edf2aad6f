"""Kills an API process at a named point, and shortens its longest times: installed by `doomed/sitecustomize.py`.

A point is armed by a file of its name in the folder that FAULTS_DOOM names. Of several processes that share the
folder, the one that passes the point often enough first takes the file away, and dies by SIGKILL on the spot.
"""

from __future__ import annotations

import functools
import importlib.machinery
import inspect
import os
import resource
import signal
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from importlib.abc import MetaPathFinder
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any
from uuid import uuid4

from tests.faults.points import POINTS, Point

FOLDER_VARIABLE = "FAULTS_DOOM"
FULL, SPACE = signal.SIGUSR1, signal.SIGUSR2
"""Tell the process that its disk is full, and that there is space again."""

SHORTENED: Mapping[str, float] = {
    # The long times of a process that meets with an outage; a round does not wait half a minute for them.
    "milepost_api.records.engine:STATEMENT_SECONDS": 2.0,
    "milepost_api.records.engine:CONNECT_SECONDS": 2.0,
    "milepost_api.recorder:LOOK_SECONDS": 1.0,
    "milepost_api.recorder:Recorder.__init__(dead_ms)": 3000,
    "milepost_api.hub.times:Times.__init__(linger)": 2.0,
    "milepost_api.caretaker.retention:Retention.every_seconds": 1.0,
    "milepost_api.caretaker.retention:BATCH": 3,
    "milepost_api.caretaker.caretaker:Caretaker.__init__(turn_seconds)": 2.5,
    "milepost.upkeep:LONGEST_PAUSE_SECONDS": 1.0,
}

_under_way: ContextVar[frozenset[str]] = ContextVar("_under_way", default=frozenset())


# --- for the suite -------------------------------------------------------------------------------


def arm(folder: Path, point: str, passes: int = 1) -> None:
    """Let the process die that passes `point` for the `passes`-th time from now on."""
    if point not in POINTS:
        raise KeyError(f"there is no point {point!r}")
    draft = folder / f".{point}"
    draft.write_text(f"{passes} {uuid4().hex}")
    draft.rename(folder / point)


def disarm(folder: Path) -> list[str]:
    """Take all arms away, and return the points that nobody has passed."""
    left = [path.name for path in folder.iterdir() if path.name in POINTS]
    for name in left:
        (folder / name).unlink(missing_ok=True)
    return left


def is_armed(folder: Path, point: str) -> bool:
    return (folder / point).exists()


# --- for the process that dies -------------------------------------------------------------------


class Doom:
    """What is armed in `folder`, as one process sees it."""

    def __init__(self, folder: Path, die: Callable[[], None]) -> None:
        self._folder, self._die, self._passed = folder, die, Counter[str]()

    def passes(self, point: str) -> None:
        """Die, if this is the time."""
        try:
            times, armed = (self._folder / point).read_text().split()
        except FileNotFoundError:
            return
        self._passed[armed] += 1
        if self._passed[armed] >= int(times):
            try:
                (self._folder / point).rename(self._folder / f"{point}.{os.getpid()}")
            except FileNotFoundError:
                return  # another process was faster: it dies and this one lives
            self._die()


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def install() -> None:
    """Wrap what the points name as soon as it is imported, shorten times, listen for news of the disk."""
    doom = Doom(Path(os.environ[FOLDER_VARIABLE]), _die)
    changes: defaultdict[str, list[Callable[[ModuleType], None]]] = defaultdict(list)
    for name, point in POINTS.items():
        changes[_module(point.where)].append(functools.partial(wrap, name=name, point=point, doom=doom))
        if point.within is not None:
            changes[_module(point.within)].append(functools.partial(mark, where=point.within))
    for where, value in SHORTENED.items():
        changes[_module(where)].append(functools.partial(shorten, where=where, value=value))
    sys.meta_path.insert(0, _Changing(changes))
    signal.signal(FULL, _full)
    signal.signal(SPACE, _space)


def _module(where: str) -> str:
    return where.partition(":")[0]


def _place(module: ModuleType, where: str) -> tuple[Any, str, Any]:
    """Return what holds the thing that `where` names, its name there, and the thing. Raises `LookupError`."""
    holder: Any = module
    *path, name = where.partition(":")[2].split(".")
    try:
        for part in path:
            holder = vars(holder)[part]
        return holder, name, vars(holder)[name]
    except KeyError:
        raise LookupError(f"There is no {where} any more; see tests/faults/points.py and doom.py.") from None


def found(where: str, module: ModuleType) -> Any:
    """Return what `where` names. Raises `LookupError`."""
    return _place(module, where)[2]


def wrap(module: ModuleType, name: str, point: Point, doom: Doom) -> None:
    """Let every call of the function pass the point."""
    holder, attribute, function = _place(module, point.where)

    def passed(args: tuple[Any, ...], result: Any) -> None:
        inside = point.within is None or point.within in _under_way.get()
        if inside and point.passes(args, result):
            doom.passes(name)

    before = passed if point.when == "before" else _nothing
    after = passed if point.when == "after" else _nothing
    setattr(holder, attribute, _around(function, before, after))


def _around(function: Any, before: Callable[..., None], after: Callable[..., None]) -> Any:
    @functools.wraps(function)
    async def wrapped(*args: Any, **kwargs: Any) -> Any:
        before(args, None)
        result = await function(*args, **kwargs)
        after(args, result)
        return result

    @functools.wraps(function)
    def wrapped_plain(*args: Any, **kwargs: Any) -> Any:
        before(args, None)
        result = function(*args, **kwargs)
        after(args, result)
        return result

    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise LookupError(f"{function} is a generator: a call of it does nothing yet.")
    return wrapped if inspect.iscoroutinefunction(function) else wrapped_plain


def _nothing(args: tuple[Any, ...], result: Any) -> None:
    pass


def mark(module: ModuleType, where: str) -> None:
    """Let it be known for which time the function is under way."""
    holder, attribute, function = _place(module, where)

    @functools.wraps(function)
    async def marked(*args: Any, **kwargs: Any) -> Any:
        token = _under_way.set(_under_way.get() | {where})
        try:
            return await function(*args, **kwargs)
        finally:
            _under_way.reset(token)

    setattr(holder, attribute, marked)


def shorten(module: ModuleType, where: str, value: float) -> None:
    """Set a constant, or the default of a keyword: `module:Class.function(keyword)`."""
    place, _, keyword = where.rstrip(")").partition("(")
    holder, name, thing = _place(module, place)
    if not keyword:
        setattr(holder, name, value)
    elif keyword in (thing.__kwdefaults__ or {}):
        thing.__kwdefaults__[keyword] = value
    elif keyword in (names := _with_defaults(thing)):
        defaults = list(thing.__defaults__)
        defaults[names.index(keyword)] = value
        thing.__defaults__ = tuple(defaults)
    else:
        raise LookupError(
            f"{place} has no keyword {keyword} any more; see SHORTENED in tests/faults/doom.py."
        )


def _with_defaults(function: Any) -> list[str]:
    """Return the names of the positional parameters that have defaults."""
    count = len(function.__defaults__ or ())
    return list(function.__code__.co_varnames[: function.__code__.co_argcount])[-count:] if count else []


class _Changing(MetaPathFinder):
    """Finds the modules that are to be changed where everybody finds them, and changes them when they have run."""

    def __init__(self, changes: Mapping[str, Sequence[Callable[[ModuleType], None]]]) -> None:
        self._changes = changes

    def find_spec(self, name: str, path: Any, target: Any = None) -> importlib.machinery.ModuleSpec | None:
        if name not in self._changes:
            return None
        others = (finder for finder in sys.meta_path if finder is not self)
        spec = next((found for finder in others if (found := finder.find_spec(name, path, target))), None)
        loader: Any = spec and spec.loader
        if loader is not None:
            run = loader.exec_module

            def exec_module(module: ModuleType) -> None:
                run(module)
                for change in self._changes[name]:
                    change(module)

            loader.exec_module = exec_module
        return spec


def _full(_number: int, _frame: FrameType | None) -> None:
    """From now on the kernel refuses whatever this process writes to a file, its log included."""
    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, most))


def _space(_number: int, _frame: FrameType | None) -> None:
    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
