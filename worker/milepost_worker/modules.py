"""The modules with tasks: imported, or refused with a sentence that says which, where and why."""

from __future__ import annotations

import importlib
import sys
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from milepost.errors import MilepostError, TaskDefinitionError
from milepost.tasks import REGISTRY, Task

BUILTIN = "milepost_worker.builtin"


def look_in_working_directory() -> None:
    """Let `milepost worker tasks` find the tasks.py beside it, as `python -m` does."""
    if "" not in sys.path and str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))


def import_tasks(modules: Sequence[str]) -> Mapping[str, Task[..., Any]]:
    """Import the modules and return every task that is then defined, by name.

    Raises `TaskDefinitionError` when a module cannot be imported or none defines a task.
    """
    look_in_working_directory()
    for module in modules:
        _import(module)
    if not REGISTRY:
        raise TaskDefinitionError(
            f"No task is defined in {', '.join(modules)}: decorate a function with @task."
        )
    return dict(REGISTRY)


def _import(module: str) -> None:
    if not all(part.isidentifier() for part in module.split(".")):
        raise TaskDefinitionError(_no_name(module))
    try:
        importlib.import_module(module)
    except MilepostError:
        raise
    except ModuleNotFoundError as error:
        raise TaskDefinitionError(_not_found(module, error)) from error
    except SyntaxError as error:
        what = _one_line(error.msg or "")
        raise TaskDefinitionError(
            f"Module {module!r} cannot be imported, {what}: {error.filename or 'its source'}"
            f"{f', line {error.lineno}' if error.lineno else ''}."
        ) from error
    except (Exception, SystemExit) as error:
        raise TaskDefinitionError(
            f"Module {module!r} raised {type(error).__name__} on import: {_one_line(str(error))} ({_place(error)})."
        ) from error


def _no_name(module: str) -> str:
    guess = ".".join(part for part in Path(module.removesuffix(".py")).parts if part.isidentifier())
    return f"{module!r} is no name of a module" + (f": did you mean {guess!r}?" if guess else ".")


def _not_found(module: str, error: ModuleNotFoundError) -> str:
    if error.name == f"{module.partition('.')[0]}.py" or module.endswith(".py"):
        return _no_name(module)
    if error.name and (module == error.name or module.startswith(error.name + ".")):
        return f"There is no module {module!r}; it is looked for in {Path.cwd()} and on PYTHONPATH."
    return f"Module {module!r} imports {error.name!r}, which is not installed ({_place(error)})."


def _place(error: BaseException) -> str:
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not _is_machinery(frame)]
    return f"{frames[-1].filename}, line {frames[-1].lineno}" if frames else "nobody knows where"


def _is_machinery(frame: traceback.FrameSummary) -> bool:
    return frame.filename.startswith("<frozen") or frame.filename in {__file__, importlib.__file__}


def _one_line(text: str) -> str:
    return " ".join(text.split())
