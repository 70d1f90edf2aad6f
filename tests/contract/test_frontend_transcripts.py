"""The frontend's own tests under Node; `contract.test.js` holds it against the same files as Python."""

from __future__ import annotations

import pytest

from tests.support.node import node_module, run_node
from tests.support.process import ROOT

FRONTEND = ROOT / "frontend"
SUITES = sorted(path.name for path in (FRONTEND / "test").glob("*.test.js"))


def test_the_contract_is_among_the_suites() -> None:
    """A renamed file would take its promises with it."""
    assert "contract.test.js" in SUITES


@pytest.mark.parametrize("name", SUITES)
def test_suite_passes_under_node(name: str) -> None:
    """What is pure needs no browser to be sure of."""
    run_node("--test", "--test-reporter=spec", FRONTEND / "test" / name)


def test_types_hold() -> None:
    """The frontend is plain JavaScript; its JSDoc types are checked all the same."""
    run_node(node_module("typescript") / "bin/tsc", "--project", FRONTEND / "tsconfig.json")
