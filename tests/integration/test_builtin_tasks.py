"""The built-in tasks in a real worker, on real files."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from milepost.job import Status
from tests.support.workers import Fleet

BUILTIN = "milepost_worker.builtin"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    root.mkdir()
    return root


def in_a_shell(recipe: str, folder: Path) -> str:
    """Return the first word that the recipe prints."""
    output = subprocess.run(["sh", "-c", recipe], cwd=folder, check=True, capture_output=True, text=True)
    return output.stdout.split()[0]


async def test_a_tree_of_a_thousand_files_is_hashed_as_the_commands_do(fleet: Fleet, root: Path) -> None:
    """With progress in bytes, two steps, and the digest that a shell gives."""
    for n in range(1000):
        file = root / "tree" / f"folder {n % 20}" / f"file-{n}.bin"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(os.urandom(1000 + n))
    recipe = "find . -type f -printf '%P\\0' | LC_ALL=C sort -z | xargs -0r sha256sum -- | sha256sum"
    expected = in_a_shell(recipe, root / "tree")
    await fleet.worker(BUILTIN, files_root=root)
    job = await fleet.run("files.checksum", {"path": "tree"})
    assert job.status == Status.SUCCEEDED
    assert job.result["digest"] == expected
    assert (job.result["files"], job.result["bytes"]) == (1000, sum(1000 + n for n in range(1000)))
    assert [(step.key, step.status, step.percent) for step in job.progress.steps] == [
        ("scan", "succeeded", 100),
        ("hash", "succeeded", 100),
    ]
    assert (job.progress.unit, job.progress.current) == ("bytes", job.result["bytes"])
    percents = [one["progress"]["percent"] for one in await fleet.events(job.id) if one["type"] == "progress"]
    assert percents == sorted(percents)
    assert len(percents) >= 4


async def test_what_lies_outside_of_the_root_is_refused_at_the_first_attempt(
    fleet: Fleet, root: Path
) -> None:
    """Another attempt would end the same way."""
    await fleet.worker(BUILTIN, files_root=root)
    for task in ("files.checksum", "csv.profile"):
        job = await fleet.run(task, {"path": "../../etc/passwd"}, max_attempts=3)
        assert (job.status, job.attempt) == (Status.FAILED, 1)
        assert job.error is not None
        assert "lies outside of the folder this worker may read" in job.error.message


async def test_a_csv_file_is_profiled_with_partial_results(fleet: Fleet, root: Path) -> None:
    """NaN in the data is no reason to fail."""
    rows = "".join(
        f"{n},name {n % 10},{n / 7 if n else 'NaN'},2026-01-{n % 28 + 1:02}\n" for n in range(5000)
    )
    (root / "data.csv").write_text("\ufeffid,name,x,day\n" + rows)
    await fleet.worker(BUILTIN, files_root=root)
    job = await fleet.run("csv.profile", {"path": "data.csv"})
    assert job.status == Status.SUCCEEDED
    result = job.result
    assert (result["rows"], result["complete"]) == (5000, True)
    assert [(one["name"], one["type"]) for one in result["columns"]] == [
        ("id", "integer"),
        ("name", "text"),
        ("x", "number"),
        ("day", "date"),
    ]
    assert result["columns"][2]["non_finite"] == 1
    assert (job.progress.current, job.progress.unit) == (5000, "rows")
    outputs = [one["data"]["rows"] for one in await fleet.events(job.id) if one["type"] == "output"]
    assert outputs == [1000, 2000, 4000]
