"""Documentation is tested like code: what nobody can look up does not exist, and what is written is so."""

import ast
import json
import re
import tomllib
from dataclasses import MISSING, fields
from functools import cache
from pathlib import Path
from typing import Any, cast

import click
import pytest
from milepost_api.app import create_app
from milepost_api.hub.subscription import CONFLATE_FRAMES
from milepost_api.settings import ApiSettings
from milepost_api.streaming import RETRY_MS
from milepost_api.submit import Submission
from milepost_worker import builtin
from milepost_worker.main import command as worker_command
from milepost_worker.metrics import OUTCOMES, Counted
from milepost_worker.outbox import PENDING_REPORTS
from milepost_worker.settings import WorkerSettings
from prometheus_client import CollectorRegistry
from pydantic_core import PydanticUndefined

import milepost
from milepost.cli import exits
from milepost.cli.main import cli
from milepost.events import EVENT_TYPES, INLINE_RESULT_BYTES, Event
from milepost.job import NEXT, ErrorCode, Job, JobError, Progress, Status, Step, StepRef
from milepost.log import Load, RunningJob, WorkerInfo
from milepost.problems import PROBLEM_TYPES
from milepost.reporting import ProgressHandle
from milepost.settings import PREFIX, Settings
from milepost.tasks import REGISTRY, Options

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.glob("*.md")])
SETTINGS: tuple[type[Settings], ...] = (Settings, ApiSettings, WorkerSettings)

BUILTIN = builtin.__name__  # importing it has registered its tasks


@cache
def page(name: str) -> str:
    return (DOCS / name).read_text()


def section(text: str, heading: str) -> str:
    """Return what stands below a heading, down to the next of its rank or above."""
    rank = heading.split(maxsplit=1)[0]
    found = re.search(
        rf"^{re.escape(heading)}$\n(.*?)(?=^#{{1,{len(rank)}}} |\Z)",
        without_blocks(text),
        re.DOTALL | re.MULTILINE,
    )
    assert found, f"there is no heading {heading!r}"
    return found[1]


def without_blocks(text: str) -> str:
    """Drop fenced blocks: a comment of a shell looks like a heading."""
    return re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)


def rows(text: str) -> dict[str, list[str]]:
    """Return the rows of all tables: the words in code of the first cell, each with the other cells."""
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        first, *others = (cell.strip() for cell in line.strip().strip("|").split(" | "))
        if line.startswith("| `"):
            found |= dict.fromkeys(re.findall(r"`([^`]+)`", first), others)
    return found


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\b[^\n]*\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


# --- settings ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "name"), [(model, name) for model in SETTINGS for name in model.model_fields]
)
def test_every_setting_is_documented_with_its_default(model: type[Settings], name: str) -> None:
    """Its row in operations.md says the default that the code has."""
    default = model.model_fields[name].default
    assert default is not PydanticUndefined
    documented = rows(section(page("operations.md"), "## Settings").split("### `milepost up`")[0])
    assert documented[PREFIX + name.upper()][0] == shown(default)


def shown(default: Any) -> str:
    plain = default.get_secret_value() if hasattr(default, "get_secret_value") else default
    plain = ",".join(plain) if isinstance(plain, tuple) else plain
    return "none" if plain in ("", None) else f"`{plain}`"


def test_no_documentation_speaks_of_a_setting_that_is_not_there() -> None:
    """Every MILEPOST_ name that a page mentions is read somewhere."""
    known = {PREFIX + name.upper() for model in SETTINGS for name in model.model_fields}
    for folder in ("milepost", "api", "worker", "devtools", "tests"):
        for source in (ROOT / folder).rglob("*.py"):
            known |= set(re.findall(r"[\"']_?(MILEPOST_[A-Z_]+)[\"']", source.read_text()))
    mentioned = {name for path in PAGES for name in re.findall(r"\bMILEPOST_[A-Z_]+\b", path.read_text())}
    assert mentioned - known == set()


def test_every_variable_that_the_programs_read_is_documented() -> None:
    """Not only settings: what the command line, the client and `milepost up` look for in the environment too."""
    read = {
        name
        for folder in ("milepost", "api", "worker")
        for source in (ROOT / folder).rglob("*.py")
        for name in re.findall(r"environ?\b[^\n]{0,20}[\"'](MILEPOST_[A-Z_]+)[\"']", source.read_text())
    }
    assert "MILEPOST_URL" in read
    assert read - rows(page("operations.md")).keys() == set()


# --- the protocol --------------------------------------------------------------------------------


@cache
def openapi() -> dict[str, Any]:
    return create_app(ApiSettings()).openapi()


def operations() -> list[tuple[str, dict[str, Any]]]:
    return [
        (f"{method.upper()} {path}", operation)
        for path, methods in openapi()["paths"].items()
        for method, operation in methods.items()
    ]


@pytest.mark.parametrize(("route", "operation"), operations(), ids=[route for route, _ in operations()])
def test_every_route_is_documented(route: str, operation: dict[str, Any]) -> None:
    """Its section names every status it can answer, and every parameter it takes."""
    text = section(page("protocol.md"), f"### `{route}`")
    common = section(page("protocol.md"), "## Routes").split("### ")[0] if "/v1" in route else ""
    unnamed = [status for status in operation["responses"] if not re.search(rf"\b{status}\b", text + common)]
    assert unnamed == []
    parameters = [one["name"] for one in operation.get("parameters", []) if one["in"] != "path"]
    assert [name for name in parameters if name.lower() not in text.lower()] == []


def test_no_route_is_documented_that_is_not_there() -> None:
    """Every section of a route is one of the OpenAPI document's."""
    documented = re.findall(r"^### `([A-Z]+ /[^`]*)`$", page("protocol.md"), re.MULTILINE)
    assert sorted(documented) == sorted(route for route, _ in operations())


def test_every_field_of_a_submission_is_documented() -> None:
    """No field of POST /v1/jobs is a secret, and none is made up."""
    table = section(page("protocol.md"), "### `POST /v1/jobs`").split("| header |")[0]
    assert rows(table).keys() == Submission.model_fields.keys()


@pytest.mark.parametrize("name", EVENT_TYPES)
def test_every_event_is_documented_with_its_fields(name: str) -> None:
    """Each type of event has a section, and its table lists exactly the fields of the type."""
    kind = EVENT_TYPES[name]
    common = {field.name for field in fields(Event)} if issubclass(kind, Event) else set()
    own = {field.name for field in fields(kind)} - common
    assert rows(section(page("protocol.md"), f"### `{name}`")).keys() == own


def test_every_field_of_a_worker_is_documented() -> None:
    """What GET /v1/workers answers can be looked up, and what it says of its jobs and its load too."""
    text = section(page("protocol.md"), "### `GET /v1/workers`")
    assert rows(text).keys() == {field.name for field in fields(WorkerInfo)}
    parts = {field.name for kind in (RunningJob, Load) for field in fields(kind)}
    assert parts <= set(re.findall(r"`(\w+)`", text))


def test_every_metric_of_a_worker_is_documented() -> None:
    """By the name that Prometheus reads, with its labels."""
    registry = CollectorRegistry()
    Counted(registry, slots=1)
    text = section(page("operations.md"), "## Metrics")
    for family in registry.collect():
        name = family.name + ("_total" if family.type == "counter" else "")
        assert f"`{name}`" in text
    assert [outcome for outcome in OUTCOMES if f"`{outcome}`" not in text] == []


def test_what_all_events_carry_is_documented() -> None:
    """The common fields have a table of their own."""
    table = section(page("protocol.md"), "## Events").split("### ")[0]
    assert rows(table).keys() == {"type", *(field.name for field in fields(Event))}


def test_every_field_of_a_job_is_documented() -> None:
    """What GET answers can be looked up, field by field."""
    whole = section(page("protocol.md"), "## The job")
    assert rows(whole.split("### ")[0]).keys() == {"urls", *(field.name for field in fields(Job))}
    progress = section(page("protocol.md"), "### Progress")
    assert {field.name for field in fields(Progress)} <= rows(progress).keys()
    parts = {field.name for kind in (Step, StepRef) for field in fields(kind)}
    assert parts <= set(re.findall(r"`(\w+)`", progress))
    errors = section(page("protocol.md"), "### Errors")
    assert {field.name for field in fields(JobError)} <= set(re.findall(r"`(\w+)`", errors))
    assert rows(errors).keys() == set(ErrorCode)


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_every_row_stands_in_a_table(path: Path) -> None:
    """What comes between two rows ends a table; the rows after it are shown as text with bars."""
    runs = re.findall(r"^\|.*\n(?:\|.*(?:\n|\Z))*", without_blocks(path.read_text()), re.MULTILINE)
    assert [run[:80] for run in runs if not re.match(r"\|.*\n\|[ :|-]+\|\n", run)] == []


def test_the_table_of_statuses_is_that_of_the_code() -> None:
    """Every status, and exactly what may follow it."""
    table = rows(section(page("protocol.md"), "### Statuses"))
    assert table.keys() == set(Status)
    following = {Status(name): frozenset(re.findall(r"`(\w+)`", cells[-1])) for name, cells in table.items()}
    assert following == {status: frozenset(map(str, after)) for status, after in NEXT.items()}


def test_every_problem_is_documented_with_its_status() -> None:
    """Clients switch on these names."""
    table = rows(section(page("protocol.md"), "## Problems"))
    wanted = {kind.name: str(kind.status) for kind in PROBLEM_TYPES.values()}
    assert {name: cells[0] for name, cells in table.items()} == wanted


def test_the_numbers_of_the_protocol_are_those_of_the_code() -> None:
    """A number in the text is a promise."""
    text = page("protocol.md")
    assert f"longer than {INLINE_RESULT_BYTES} bytes" in text
    assert f"more than {CONFLATE_FRAMES}\n   events behind" in text
    assert f"reads nothing for {ApiSettings.model_fields['stalled_reader_seconds'].default:g} s" in text
    assert "wait {:g} to {:g} s before".format(*(ms / 1000 for ms in RETRY_MS)) in text
    assert f"when {PENDING_REPORTS:,} of them wait" in page("tasks.md")


# --- tasks ---------------------------------------------------------------------------------------


def test_every_option_of_a_task_is_documented_with_its_default() -> None:
    """The table under @task is the signature."""
    table = rows(section(page("tasks.md"), "## `@task`"))
    assert table.keys() == {"name", *(field.name for field in fields(Options))}
    plain = {
        field.name: f"{field.default:g}" if isinstance(field.default, float) else str(field.default)
        for field in fields(Options)
        if field.default is not MISSING and isinstance(field.default, int | float | str)
    }
    assert {name: table[name][0].strip("`") for name in plain} == plain


def test_everything_a_task_can_report_is_documented() -> None:
    """Every public method of `progress`, and every name of the package."""
    text = page("tasks.md")
    public = {name for name in vars(ProgressHandle) if not name.startswith("_")}
    assert {name for name in public if f"`progress.{name}" not in text} == set()
    assert {name for name in milepost.__all__ if not re.search(rf"\b{name}\b", text)} == set()


def test_every_built_in_task_is_documented_with_its_params() -> None:
    """The table lists what `milepost tasks` lists."""
    table = rows(section(page("tasks.md"), "## Tasks that come with Milepost"))
    built_in = {name: task for name, task in REGISTRY.items() if task.function.__module__.startswith(BUILTIN)}
    assert len(built_in) >= 5
    assert {name: re.findall(r"`(\w+)`", cells[0]) for name, cells in table.items()} == {
        name: list(task.params_schema["properties"]) for name, task in built_in.items()
    }


# --- the command line ----------------------------------------------------------------------------


def options(command: click.Command) -> set[str]:
    flags = {
        flag
        for one in command.params
        if isinstance(one, click.Option) and not one.hidden
        for flag in one.opts
    }
    return {flag for flag in flags if flag.startswith("--")} - {"--help", "--version"}


@pytest.mark.parametrize("name", cli.commands)
def test_every_command_is_documented_with_its_options(name: str) -> None:
    """Its section in cli.md names every option, or the table of shared ones does."""
    command = worker_command if name == "worker" else cli.commands[name]
    text = section(page("cli.md"), f"### `milepost {name}`")
    shared = rows(section(page("cli.md"), "## Jobs").split("### ")[0]).keys()
    assert options(command) - set(re.findall(r"`(--[\w-]+)`", text)) - shared == set()


def test_no_command_or_option_is_documented_that_is_not_there() -> None:
    """What a page says one can type, one can type."""
    documented = re.findall(r"^### `milepost (\w+)`$", page("cli.md"), re.MULTILINE)
    assert sorted(documented) == sorted(cli.commands)
    known = options(worker_command).union(*(options(command) for command in cli.commands.values()))
    assert set(re.findall(r"`(--[a-z-]+)`", page("cli.md"))) - known == set()


def test_every_exit_code_is_documented() -> None:
    """Scripts decide by them."""
    codes = {str(value) for name, value in vars(exits).items() if name.isupper() and isinstance(value, int)}
    table = section(page("cli.md"), "## Exit codes")
    assert set(re.findall(r"^\| (\d+) \|", table, re.MULTILINE)) == codes


# --- the browser ---------------------------------------------------------------------------------


def test_every_entry_of_the_npm_package_is_documented() -> None:
    """What can be imported can be looked up, and what the page names can be imported."""
    exports = json.loads((ROOT / "frontend/package.json").read_text())["exports"]
    table = rows(section(page("frontend.md"), "## Getting it"))
    assert table.keys() == {f"milepost{entry.removeprefix('.')}" for entry in exports}


def test_the_policy_for_pages_of_other_sites_is_the_one_that_is_tried() -> None:
    """What a page with the documented policy may do is shown in a browser, with exactly that policy."""
    [policy] = blocks(page("frontend.md").replace("\n   ", "\n"), "text")
    browser = (ROOT / "tests/e2e/test_browser_files.py").read_text()
    allowed = policy.strip().replace("https://api.example.org", "API").split("; ")
    assert len(allowed) == 4
    assert [one for one in allowed if one not in browser] == []


# --- the pages themselves ------------------------------------------------------------------------


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_links_lead_somewhere(path: Path) -> None:
    """Every relative link names a file that is there, and a heading of it where it has a #."""
    broken = [link for link in links(path) if not leads_somewhere(path, link)]
    assert broken == []


def links(path: Path) -> list[str]:
    found = re.findall(r"\]\(([^)\s]+)\)", without_blocks(path.read_text()))
    return [link for link in found if not link.startswith(("http://", "https://", "mailto:"))]


def leads_somewhere(path: Path, link: str) -> bool:
    name, _, anchor = link.partition("#")
    target = (path.parent / name).resolve() if name else path
    if not target.exists():
        return False
    return not anchor or anchor in anchors(target)


@cache
def anchors(path: Path) -> set[str]:
    """Return the anchors that GitHub makes of the headings of a page, or `L12` for a line of a file."""
    if path.suffix != ".md":
        return {f"L{number}" for number, _ in enumerate(path.read_text().splitlines(), 1)}
    headings = re.findall(r"^#+ (.+)$", without_blocks(path.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


PYTHON = [(path, code) for path in PAGES for code in blocks(path.read_text(), "python")]
JSON = [(path, text) for path in PAGES for text in blocks(path.read_text(), "json")]


@pytest.mark.parametrize(
    ("path", "code"), PYTHON, ids=[f"{path.name}-{n}" for n, (path, _) in enumerate(PYTHON)]
)
def test_python_in_the_pages_is_python(path: Path, code: str) -> None:
    """Every block parses, and what it imports from milepost is there."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("milepost"):
            module = __import__(cast("str", node.module), fromlist=["*"])
            assert [name.name for name in node.names if not hasattr(module, name.name)] == []


def test_the_task_of_the_quickstart_is_the_example() -> None:
    """What a reader copies is what stands in examples/."""
    first = blocks(page("quickstart.md"), "python")[0]
    assert first == (ROOT / "examples" / "mytasks.py").read_text()


def test_json_in_the_pages_is_json() -> None:
    """Every block parses."""
    for _, text in JSON:
        json.loads(text)


def test_the_changelog_knows_the_version() -> None:
    """What pyproject.toml calls the version has its heading."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert f"## [{version}]" in (ROOT / "CHANGELOG.md").read_text()
