"""`progress.tqdm`: stands in for `tqdm.tqdm`. A bar of the job inside a job, tqdm's own bar outside."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import AsyncIterable, AsyncIterator, Callable, Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from functools import cache
from importlib import import_module
from typing import Any, Self

from milepost.reporting.bars import Bar
from milepost.reporting.reporter import here


@cache
def installed() -> Any:
    """Return tqdm's own class, the one that suits terminal or notebook; None if it is not installed."""
    try:
        return import_module("tqdm.auto").tqdm
    except ImportError:
        return None


class _Class(type):
    """What tqdm's class offers beyond its bars (`format_sizeof`, `pandas`, …) is its own."""

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__") or (real := installed()) is None:
            raise AttributeError(f"type object {cls.__name__!r} has no attribute {name!r}")
        return getattr(real, name)


class tqdm(metaclass=_Class):  # noqa: N801 -- it bears the name of what it stands in for
    """Takes tqdm's arguments and has its methods.

    Inside a job it is drawn nowhere: it counts on the present step, or, opened inside of another bar, on a step of
    its own; `desc` and postfix are the message, or the step's name. Outside it hands everything to a bar of tqdm,
    or, where that is not installed, only counts.
    """

    _lock: Any = threading.RLock()

    def __init__(
        self,
        iterable: Iterable[Any] | AsyncIterable[Any] | None = None,
        desc: str | None = None,
        total: float | None = None,
        leave: bool | None = True,
        file: Any = None,
        ncols: int | None = None,
        mininterval: float = 0.1,
        maxinterval: float = 10.0,
        miniters: float | None = None,
        ascii: bool | str | None = None,  # noqa: A002
        disable: bool | None = False,
        unit: str = "it",
        unit_scale: bool | float = False,
        dynamic_ncols: bool = False,
        smoothing: float = 0.3,
        bar_format: str | None = None,
        initial: float = 0,
        position: int | None = None,
        postfix: Any = None,
        unit_divisor: float = 1000,
        write_bytes: bool = False,
        lock_args: Any = None,
        nrows: int | None = None,
        colour: str | None = None,
        delay: float = 0.0,
        gui: bool = False,
        **kwargs: Any,
    ) -> None:
        options = {name: value for name, value in locals().items() if name not in {"self", "kwargs"}}
        place, real = here(), installed
        if place is None and real() is not None:
            self._bar: Any = real()(**options, **kwargs)
            return
        if kwargs:
            raise KeyError(f"Unknown argument(s): {kwargs}")
        self._bar = Bar(place, options)

    # A bar's attributes are those of the bar behind it, also the ones that are set.

    def __getattr__(self, name: str) -> Any:
        if name == "_bar":
            raise AttributeError(name)  # not made yet, or being copied
        return getattr(self._bar, name)

    def __setattr__(self, name: str, value: Any) -> None:
        own = name == "_bar" or any(name in vars(cls) for cls in type(self).__mro__)
        if own:
            super().__setattr__(name, value)
        else:
            setattr(self._bar, name, value)

    def update(self, n: float | None = 1) -> bool | None:
        return self._bar.update(n)  # type: ignore[no-any-return]

    def close(self) -> None:
        self._bar.close()

    def reset(self, total: float | None = None) -> None:
        self._bar.reset(total)

    def refresh(self, nolock: bool = False, lock_args: Any = None) -> Any:
        return self._bar.refresh(nolock, lock_args)

    def clear(self, nolock: bool = False) -> None:
        self._bar.clear(nolock)

    def unpause(self) -> None:
        self._bar.unpause()

    def moveto(self, n: int) -> None:
        self._bar.moveto(n)

    def display(self, msg: str | None = None, pos: int | None = None) -> Any:
        return self._bar.display(msg, pos)

    def set_description(self, desc: str | None = None, refresh: bool | None = True) -> None:
        self._bar.set_description(desc, refresh)

    def set_description_str(self, desc: str | None = None, refresh: bool | None = True) -> None:
        self._bar.set_description_str(desc, refresh)

    def set_postfix(
        self, ordered_dict: Mapping[str, Any] | None = None, refresh: bool | None = True, **kwargs: Any
    ) -> None:
        self._bar.set_postfix(ordered_dict, refresh, **kwargs)

    def set_postfix_str(self, s: str = "", refresh: bool = True) -> None:
        self._bar.set_postfix_str(s, refresh)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._bar.__exit__(*exception)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._bar)

    def __aiter__(self) -> AsyncIterator[Any]:
        return aiter(self._bar)

    def __len__(self) -> int:
        return len(self._bar)

    def __bool__(self) -> bool:
        return bool(self._bar)

    def __contains__(self, item: object) -> bool:
        return item in self._bar

    def __reversed__(self) -> Iterator[Any]:
        return iter(reversed(self._bar))

    def __str__(self) -> str:
        return str(self._bar)

    # What belongs to no single bar.

    @classmethod
    def write(cls, s: str, file: Any = None, end: str = "\n", nolock: bool = False) -> None:
        """Print a line beside the bars; inside a job it is one for those who watch."""
        place, real = here(), installed()
        if place is not None and (file is None or file is sys.stdout or file is sys.stderr):
            place.reporter.log("info", s)
        elif real is not None:
            real.write(s, file=file, end=end, nolock=nolock)
        else:
            (file or sys.stdout).write(s + end)

    @classmethod
    def external_write_mode(cls, file: Any = None, nolock: bool = False) -> Any:
        real = installed()
        return nullcontext() if real is None else real.external_write_mode(file, nolock)

    @classmethod
    def set_lock(cls, lock: Any) -> None:
        cls._lock = lock
        if (real := installed()) is not None:
            real.set_lock(lock)

    @classmethod
    def get_lock(cls) -> Any:
        real = installed()
        return cls._lock if real is None else real.get_lock()

    @classmethod
    @contextmanager
    def wrapattr(
        cls,
        stream: Any,
        method: str,
        total: float | None = None,
        bytes: bool = True,  # noqa: A002
        **tqdm_kwargs: Any,
    ) -> Generator[Any, None, None]:
        """Count what goes through `stream.read` or `stream.write`."""
        if bytes:
            tqdm_kwargs |= {"unit": "B", "unit_scale": True, "unit_divisor": 1024}
        with cls(total=total, **tqdm_kwargs) as bar:
            yield _Watched(stream, method, bar.update)

    @classmethod
    def as_completed(
        cls,
        fs: Any,
        *,
        loop: Any = None,  # noqa: ARG003 -- nor does tqdm use it
        timeout: float | None = None,
        total: float | None = None,
        **tqdm_kwargs: Any,
    ) -> Iterator[Any]:
        """Do the same as `asyncio.as_completed`, with a bar."""
        total = len(fs) if total is None else total
        several: Any = asyncio.as_completed(fs, timeout=timeout)
        yield from cls(several, total=total, **tqdm_kwargs)

    @classmethod
    async def gather(
        cls,
        *fs: Any,
        loop: Any = None,  # noqa: ARG003 -- nor does tqdm use it
        timeout: float | None = None,
        total: float | None = None,
        return_exceptions: bool = False,
        **tqdm_kwargs: Any,
    ) -> list[Any]:
        """Do the same as `asyncio.gather`, with a bar."""

        async def numbered(number: int, one: Any) -> tuple[int, Any]:
            try:
                return number, await one
            except Exception as error:
                if not return_exceptions:
                    raise
                return number, error

        waiting = [numbered(*pair) for pair in enumerate(fs)]
        done = cls.as_completed(waiting, timeout=timeout, total=total, **tqdm_kwargs)
        return [result for _, result in sorted([await one for one in done], key=lambda pair: pair[0])]


class _Watched:
    """A stream whose `method` tells how much went through it."""

    def __init__(self, stream: Any, method: str, told: Callable[[int], Any]) -> None:
        self._stream, self._method, self._told = stream, method, told

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._stream, name)
        return self._watched(attribute) if name == self._method else attribute

    def _watched(self, method: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            result = method(*args, **kwargs)
            self._told(len(args[0] if self._method == "write" else result))
            return result

        return call


def trange(*args: Any, **kwargs: Any) -> tqdm:
    """Shortcut for `tqdm(range(*args), **kwargs)`."""
    return tqdm(range(*args), **kwargs)
