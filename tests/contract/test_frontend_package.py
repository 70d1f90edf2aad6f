"""What is published to npm: installed into an empty project it has types, runs in Node, and is as small as it says."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

from tests.support.node import node_module, node_path
from tests.support.process import ROOT

FRONTEND = ROOT / "frontend"
PACKAGE = json.loads((FRONTEND / "package.json").read_text())

# The field's convention: bundled and minified by esbuild, then gzipped.
CLIENT_BYTES = 4_096
ELEMENT_BYTES = 3_072
"""How much more than the client `<milepost-progress>` may be."""
WATCHING_BYTES = 9_000
"""The client and what its first watch loads."""
SHOWING_BYTES = 14_500
"""The same with a bar, and what the first bar loads."""

RIGHT = """\
import { Milepost, Problem, TERMINAL, fold, readJob } from "milepost"
import { ProgressElement } from "milepost/element"
import { JobListElement } from "milepost/list"
import { percentage } from "milepost/format"
import { SseDecoder } from "milepost/sse"

const milepost = new Milepost({ baseUrl: "https://api.example.org/", getToken: async () => "token" })
const stop = new AbortController()

async function follow(id: string): Promise<string> {
  let shown = ""
  for await (const { job, event, connection, problem } of milepost.watch(id, { signal: stop.signal })) {
    if (job !== null) shown = percentage(job.progress.percent)
    if (event?.type === "end" || connection === "refused") return problem ?? shown
  }
  return shown
}

const watch = milepost.watch("id")
watch.addEventListener("update", () => watch.close())
for await (const { id, job } of milepost.watchMany({ tag: "nightly" })) console.log(id, job?.status)

try {
  const job = await milepost.submit("demo.count", { steps: 3 }, { tags: ["nightly"] })
  const ended: boolean = TERMINAL.has(job.status)
  const known = fold(readJob(await milepost.get(job.id)), { type: "ping" })
  console.log(await follow(job.id), ended, known?.status, (await milepost.list({ status: "running" })).items.length)
} catch (error) {
  if (error instanceof Problem && error.temporary) console.log(error.status, error.retryAfter)
}

const bar = document.createElement("milepost-progress")
if (bar instanceof ProgressElement) {
  bar.client = milepost
  console.log(bar.value?.status)
}
const list = document.querySelector("milepost-job-list")
if (list instanceof JobListElement) console.log(list.value.map(({ id }) => id))
console.log(new SseDecoder())
"""

# Every line is wrong, and must be refused: types that are `any` would take all of them.
WRONG = """\
import { Milepost } from "milepost"
import { percentage } from "milepost/format"

const milepost = new Milepost({ baseUrl: "https://api.example.org/" })
// @ts-expect-error a task has a name
await milepost.submit(1)
// @ts-expect-error a job has no such field
console.log((await milepost.get("x")).percentage)
for await (const update of milepost.watch("x")) {
  // @ts-expect-error before the first word from the server there is no job
  console.log(update.job.id)
  // @ts-expect-error no such connection
  if (update.connection === "closed") break
}
// @ts-expect-error a number
percentage("12")
"""


def run(*argv: str | Path, cwd: Path, seconds: float = 120) -> str:
    environment = {**os.environ, "PATH": f"{Path(node_path()).parent}{os.pathsep}{os.environ['PATH']}"}
    ended = subprocess.run(
        [*map(str, argv)],
        cwd=cwd,
        env=environment | {"npm_config_update_notifier": "false", "npm_config_cache": str(cwd / ".npm")},
        capture_output=True,
        text=True,
        check=False,
        timeout=seconds,
    )
    if ended.returncode != 0:
        pytest.fail(f"{' '.join(map(str, argv))} failed:\n{ended.stdout}\n{ended.stderr}")
    return ended.stdout


def npm() -> list[str | Path]:
    """Return the npm that belongs to the Node of these tests, or else the one on PATH."""
    inside = Path(node_path()).resolve().parents[1] / "lib/node_modules/npm/bin/npm-cli.js"
    if inside.exists():
        return [node_path(), inside]
    if found := shutil.which("npm"):
        return [found]
    pytest.fail("This test needs npm. Run `python3 dev.py test`, which brings one.")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty project with the packed package in it, packed in a copy: nothing is left in the checkout."""
    folder = tmp_path_factory.mktemp("npm")
    shutil.copytree(FRONTEND, folder / "frontend", ignore=shutil.ignore_patterns("dist", "node_modules"))
    shutil.copy(ROOT / "LICENSE", folder)
    (folder / "tests/tools").mkdir(parents=True)
    (folder / "tests/tools/node_modules").symlink_to(node_module("typescript").parent)
    run(*npm(), "pack", "--pack-destination", folder, cwd=folder / "frontend")
    [packed] = folder.glob("*.tgz")

    project = folder / "project"
    project.mkdir()
    (project / "package.json").write_text('{"private": true, "type": "module"}')
    run(*npm(), "install", "--offline", "--no-audit", "--no-fund", packed, cwd=project)
    return project


def test_its_version_is_that_of_the_service() -> None:
    """Who runs 0.1 installs 0.1."""
    assert PACKAGE["version"] == tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]


def test_it_needs_nothing_and_may_be_published() -> None:
    """No dependency, no step of installation; only the files that register the elements do something by themselves."""
    assert "private" not in PACKAGE
    assert not PACKAGE.get("dependencies")
    assert PACKAGE["sideEffects"] == ["./src/define.js", "./src/define-list.js"]
    assert not PACKAGE["scripts"].keys() & {"preinstall", "install", "postinstall", "prepare"}


def test_what_is_packed_is_the_package_and_nothing_else(project: Path) -> None:
    """Sources, their types, the licence; no page, no tests."""
    packed = project / "node_modules/milepost"
    top = {path.name for path in packed.iterdir()}
    assert top == {"LICENSE", "README.md", "package.json", "src", "dist"}
    sources = {path.stem for path in (packed / "src").glob("*.js")}
    assert {path.name.removesuffix(".d.ts") for path in (packed / "dist").iterdir()} == sources


@pytest.mark.parametrize("entry", PACKAGE["exports"])
def test_every_entry_is_there_with_its_types(project: Path, entry: str) -> None:
    """A typo in the map of entries would be found by who installs it."""
    target = PACKAGE["exports"][entry]
    for path in target.values() if isinstance(target, dict) else [target]:
        assert (project / "node_modules/milepost" / path).is_file()


def test_strict_typescript_takes_what_is_right_and_refuses_what_is_wrong(project: Path) -> None:
    """The types are made of the comments in the source; none of them is `any` by accident."""
    (project / "right.ts").write_text(RIGHT)
    (project / "wrong.ts").write_text(WRONG)
    tsc = node_module("typescript") / "bin/tsc"
    options = ["--strict", "--noEmit", "--exactOptionalPropertyTypes", "--noUncheckedIndexedAccess"]
    libraries = [
        "--module",
        "nodenext",
        "--target",
        "es2022",
        "--lib",
        "es2024,dom,dom.iterable,dom.asynciterable",
        "--types",
        "",
    ]
    run(node_path(), tsc, *options, *libraries, "right.ts", "wrong.ts", cwd=project)


def test_importing_it_needs_no_browser(project: Path) -> None:
    """Servers that render pages import what the page imports."""
    entries = [
        f"milepost{name.removeprefix('.')}"
        for name in PACKAGE["exports"]
        if not name.endswith(("json", "react"))
    ]
    script = "".join(f'import * as e{n} from "{name}"\n' for n, name in enumerate(entries))
    script += 'const client = new e0.Milepost({ baseUrl: "http://127.0.0.1:9/" })\n'
    script += 'console.log(typeof client.watch, e0.fold(null, {type: "ping"}))\n'
    (project / "script.mjs").write_text(script)
    assert run(node_path(), "script.mjs", cwd=project).startswith("function")


def sizes(entry: str, folder: Path) -> tuple[int, int]:
    """Return the bytes of what an entry loads by itself, and of all that it loads in the end.

    Bundled as pages are that load some of it later: each file is compressed on its own.
    """
    meta = folder / "meta.json"
    options = ("--bundle", "--splitting", "--minify", "--format=esm", "--external:react", "--log-level=error")
    source = FRONTEND / PACKAGE["exports"][entry]["default"]
    subprocess.run(
        [
            node_module("esbuild") / "bin/esbuild",
            source,
            *options,
            f"--outdir={folder}",
            f"--metafile={meta}",
        ],
        check=True,
        cwd=folder,
    )
    outputs = json.loads(meta.read_text())["outputs"]
    weight = {name: len(gzip.compress((folder / name).read_bytes(), 9)) for name in outputs}
    [first] = [name for name in outputs if Path(name).name == source.name]
    at_once, pending = set(), [first]
    while pending:
        name = pending.pop()
        at_once.add(name)
        statements = [one["path"] for one in outputs[name]["imports"] if one["kind"] == "import-statement"]
        pending += [one for one in statements if one in outputs and one not in at_once]
    return sum(weight[name] for name in at_once), sum(weight.values())


def test_the_entries_are_small(record_property, tmp_path: Path) -> None:
    """Bundled, minified and gzipped; the documentation says the same numbers."""
    measured = {}
    for number, entry in enumerate(PACKAGE["exports"]):
        folder = tmp_path / str(number)
        folder.mkdir()
        measured[entry] = at_once, in_all = sizes(entry, folder)
        print(f"milepost{entry.removeprefix('.'):10} {at_once:6,} B, {in_all:6,} B in all")
        record_property(entry, at_once)
    (client, watching), (element, showing) = measured["."], measured["./element"]
    assert client <= CLIENT_BYTES
    assert element - client <= ELEMENT_BYTES
    assert watching <= WATCHING_BYTES
    assert showing <= SHOWING_BYTES
    text = " ".join((ROOT / "docs/frontend.md").read_text().split())
    assert f"at most {CLIENT_BYTES:,} bytes, `<milepost-progress>` at most {ELEMENT_BYTES:,} more" in text
    assert f"{WATCHING_BYTES:,} bytes in all, with a bar {SHOWING_BYTES:,}" in text
