"""tqdm's bar as a job has it: what code written for tqdm does with a bar becomes progress."""

from __future__ import annotations

import math
import operator
import time
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator, Mapping
from numbers import Number
from typing import Any

from milepost.reporting.loops import AsyncCounting, Loop, counting
from milepost.reporting.reporter import MESSAGE_CHARACTERS, Place, Reporter

_PLAIN_UNIT = "it"
"""tqdm's word for no unit."""


class _Silence:
    """Takes reports that nobody reads."""

    def changed(self) -> None: ...
    def milestone(self) -> None: ...
    def log(self, level: str, message: str, source: str | None) -> None: ...
    def output(self, data: Any) -> None: ...
    def checkpoint(self, value: str) -> None: ...


class Bar:
    """A bar that is not drawn. Without a place it counts and tells nobody.

    `options` are tqdm's arguments by name; those about drawing can be read and mean nothing here.
    """

    def __init__(self, place: Place | None, options: Mapping[str, Any]) -> None:
        vars(self).update(
            {name: value for name, value in options.items() if name not in {"total", "unit", "disable"}}
        )
        self.iterable: Any = options["iterable"]
        self._disabled = bool(options["disable"])  # tqdm's None means: where nobody sees the terminal
        self.desc = options["desc"] or ""
        self.postfix: str | None = None
        self.pos = 0
        self._scale = _scale(options["unit_scale"])
        self.start_t = self.last_print_t = time.time()
        self.last_print_n = options["initial"]
        if options["postfix"]:
            self._set_postfix(options["postfix"])
        self._loop = self._begin(place, options)

    def _begin(self, place: Place | None, options: Mapping[str, Any]) -> Loop:
        total, unit = _total(options["total"], self.iterable), options["unit"]
        nobody = place is None or self._disabled
        return Loop(
            Place(Reporter(_Silence())) if place is None or nobody else place,
            name=self._name(),
            total=None if total is None else total * self._scale,
            initial=options["initial"] * self._scale,
            unit=None if unit in {None, "", _PLAIN_UNIT} else unit,
            message=self._text() or None,
            apart=nobody,
        )

    # What tells how far it is.

    @property
    def n(self) -> Any:
        current = self._loop.step.current or 0
        return current if self._scale == 1 else current / self._scale

    @n.setter
    def n(self, value: Any) -> None:
        self._loop.reporter.update(self._loop.step, value * self._scale, None, None, None)

    @property
    def total(self) -> Any:
        total = self._loop.step.total
        return total if total is None or self._scale == 1 else total / self._scale

    @total.setter
    def total(self, value: Any) -> None:
        if value is None or value == math.inf:
            self._loop.step.total = None
            self._loop.reporter.touch(self._loop.step)
        else:
            self._loop.reporter.update(self._loop.step, None, value * self._scale, None, None)

    @property
    def unit(self) -> str:
        return self._loop.step.unit or _PLAIN_UNIT

    @unit.setter
    def unit(self, value: str) -> None:
        self._loop.reporter.update(self._loop.step, None, None, None, value)

    def update(self, n: Any = 1) -> None:
        loop, scale = self._loop, self._scale
        if not (self._disabled or loop.place.over):
            loop.reporter.advance(loop.step, n if scale == 1 else n * scale)

    def reset(self, total: Any = None) -> None:
        self.n = 0
        if total is not None:
            self.total = total
        self.start_t = time.time()

    # What it says.

    def set_description(self, desc: Any = None, refresh: bool = True) -> None:
        self.set_description_str(f"{desc}: " if desc else "", refresh)

    def set_description_str(self, desc: Any = None, refresh: bool = True) -> None:
        self.desc = str(desc) if desc else ""
        if refresh:
            self.refresh()

    def set_postfix(
        self, ordered_dict: Mapping[str, Any] | None = None, refresh: bool = True, **kwargs: Any
    ) -> None:
        self._set_postfix({**(ordered_dict or {}), **dict(sorted(kwargs.items()))})
        if refresh:
            self.refresh()

    def set_postfix_str(self, s: Any = "", refresh: bool = True) -> None:
        self.postfix = str(s)
        if refresh:
            self.refresh()

    def refresh(self, nolock: bool = False, lock_args: Any = None) -> None:
        if not self.disable:
            self._loop.say(self._text())

    def display(self, msg: str | None = None, pos: int | None = None) -> None:
        if not self.disable:
            self._loop.say(self._text() if msg is None else msg)

    def clear(self, nolock: bool = False) -> None: ...
    def moveto(self, n: int) -> None: ...
    def unpause(self) -> None: ...

    def _set_postfix(self, postfix: Any) -> None:
        if isinstance(postfix, Mapping):
            postfix = ", ".join(f"{key}={_shown(value)}" for key, value in postfix.items())
        self.postfix = str(postfix)

    def _name(self) -> str:
        return str(self.desc).strip().removesuffix(":")

    def _text(self) -> str:
        return ", ".join(part for part in (self._name(), self.postfix) if part)[:MESSAGE_CHARACTERS]

    # How it lasts.

    def close(self) -> None:
        self._close("done")

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._close("failed" if kind else "done")

    def __del__(self) -> None:
        if "_loop" in vars(self):
            self._close("left")

    def _close(self, outcome: Any) -> None:
        self._loop.close(outcome)

    @property
    def disable(self) -> bool:
        return self._disabled or self._loop.place.over

    @disable.setter
    def disable(self, value: Any) -> None:
        self._disabled = bool(value)

    def __iter__(self) -> Iterator[Any]:
        if self.disable:
            return iter(self.iterable)
        # It holds on to this bar, which would close the loop if it went away before.
        return counting(lambda: self._loop, self.iterable, self._scale)

    def __aiter__(self) -> AsyncIterator[Any]:
        several = self.iterable if isinstance(self.iterable, AsyncIterable) else _one_by_one(self.iterable)
        return aiter(several) if self.disable else AsyncCounting(lambda: self._loop, several, self._scale)

    def __len__(self) -> int:
        if self.iterable is None:
            return self.total  # type: ignore[no-any-return]
        return operator.length_hint(self.iterable, self.total or 0)

    def __bool__(self) -> bool:
        if self.total is not None:
            return bool(self.total > 0)
        if self.iterable is None:
            raise TypeError("bool() undefined when iterable == total == None")
        return bool(self.iterable)

    def __contains__(self, item: Any) -> bool:
        return item in self.iterable

    def __reversed__(self) -> Iterator[Any]:
        self.iterable = reversed(self.iterable)
        return iter(self)

    @property
    def format_dict(self) -> dict[str, Any]:
        """What tqdm tells about a bar, by its names."""
        elapsed = time.time() - self.start_t
        moved = self.n - vars(self)["initial"]
        read = ("ncols", "nrows", "ascii", "unit_scale", "bar_format", "unit_divisor", "initial", "colour")
        return {
            "n": self.n,
            "total": self.total,
            "elapsed": elapsed,
            "prefix": self.desc,
            "unit": self.unit,
            "postfix": self.postfix,
            "rate": moved / elapsed if elapsed > 0 and moved else None,
            **{name: vars(self)[name] for name in read},
        }

    def __str__(self) -> str:
        return f"{self.desc}{self.n}/{'?' if self.total is None else self.total}"


async def _one_by_one(iterable: Iterable[Any]) -> AsyncIterator[Any]:
    for item in iterable:
        yield item


def _total(total: Any, iterable: Any) -> Any:
    if total is None and iterable is not None:
        try:
            total = len(iterable)
        except (TypeError, AttributeError):
            return None
    return None if total == math.inf else total


def _scale(unit_scale: Any) -> float:
    # True is about how numbers are drawn; a number is what they are multiplied by.
    return 1 if isinstance(unit_scale, bool) or not unit_scale else unit_scale


def _shown(value: Any) -> str:
    if isinstance(value, Number):
        short, whole = f"{value:.3g}".replace("e+0", "e+").replace("e-0", "e-"), str(value)
        return short if len(short) < len(whole) else whole
    return str(value).strip()
