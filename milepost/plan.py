"""The steps a task will have, read from its source before it runs. Pure."""

from __future__ import annotations

import ast
import inspect
import math
import textwrap
from collections.abc import Callable, Iterable
from typing import Any


def plan_from_source(function: Callable[..., Any]) -> dict[str, float]:
    """Return the steps that a function's source shows, in order, with their weights.

    Only where the source is plain about it: every `progress.step("…", weight=…)` at the top level of the
    function has literal arguments and stands in no loop. Otherwise {}: a wrong plan is worse than none. Steps
    in branches are planned too; those of the branch that is not taken are shown as skipped.
    """
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, TypeError, SyntaxError):
        return {}
    plan: dict[str, float] = {}
    for call, in_loop in _step_calls(tree.body[0], in_loop=False):
        step = _literal_step(call)
        if step is None or in_loop or step[0] in plan:
            return {}
        plan[step[0]] = step[1]
    return plan


def _literal_step(call: ast.Call) -> tuple[str, float] | None:
    weight: Any = 1.0
    match call:
        case ast.Call(args=[ast.Constant(str(name))], keywords=[]):
            pass
        case ast.Call(
            args=[ast.Constant(str(name))], keywords=[ast.keyword(arg="weight", value=ast.Constant(weight))]
        ):
            pass
        case _:
            return None
    return (name, float(weight)) if is_amount(weight) else None


def _step_calls(node: ast.AST, *, in_loop: bool) -> Iterable[tuple[ast.Call, bool]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda):
            continue  # who knows whether and when it is called
        loops = in_loop or isinstance(child, ast.For | ast.AsyncFor | ast.While)
        if isinstance(child, ast.With | ast.AsyncWith):
            calls = [item.context_expr for item in child.items]
            step = next((call for call in calls if isinstance(call, ast.Call) and _is_step(call)), None)
            if step is not None:
                yield step, loops
                continue  # steps inside of this one are parts of it, not of the job
        yield from _step_calls(child, in_loop=loops)


def _is_step(call: ast.Call) -> bool:
    function = call.func
    return (
        isinstance(function, ast.Attribute)
        and function.attr == "step"
        and isinstance(function.value, ast.Name)
        and function.value.id == "progress"
    )


def is_amount(value: Any, most: float = math.inf) -> bool:
    """Whether `value` is a finite number from 0 to `most`."""
    return (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and math.isfinite(value)
        and 0 <= value <= most
    )
