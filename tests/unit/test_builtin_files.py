"""files.checksum, held against the commands that everybody has."""

from __future__ import annotations

import hashlib
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from milepost_worker.builtin import files
from milepost_worker.builtin.confine import PathRefused, ReadFailed
from milepost_worker.builtin.files import checksum, tree_digest

from milepost.reporting import HERE, Place, Reporter, Stopped

COMMANDS = {
    "sha256": "sha256sum",
    "sha512": "sha512sum",
    "sha1": "sha1sum",
    "md5": "md5sum",
    "blake2b": "b2sum",
}


class Sink:
    """Looks at the progress whenever it has changed, as if Redis were infinitely fast."""

    def __init__(self) -> None:
        self.reporter: Reporter
        self.percents: list[float | None] = []
        self.messages: list[str | None] = []
        self.logs: list[str] = []
        self.on_change: Callable[[], None] = lambda: None

    def checkpoint(self, value: str) -> None: ...

    def changed(self) -> None:
        self.reporter.dirty = False
        shown = self.reporter.meter.read(len(self.percents) / 10)
        self.percents.append(shown.percent)
        self.messages.append(shown.message)
        self.on_change()

    milestone = changed

    def log(self, level: str, message: str, source: str | None) -> None:
        self.logs.append(message)

    def output(self, data: Any) -> None: ...


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MILEPOST_FILES_ROOT", str(tmp_path))
    return tmp_path


@pytest.fixture
def sink() -> Iterator[Sink]:
    """Inside a job."""
    sink = Sink()
    sink.reporter = Reporter(sink, checksum.plan)
    token = HERE.set(Place(sink.reporter))
    yield sink
    HERE.reset(token)


def in_a_shell(folder: Path, command: str) -> str:
    """Return what the recipe of the docstring prints, run as it stands there."""
    recipe = next(line.strip() for line in checksum.description.splitlines() if line.startswith("    find"))
    assert "sha256sum" in recipe
    output = subprocess.run(
        ["sh", "-c", recipe.replace("sha256sum", command)],
        cwd=folder,
        check=True,
        capture_output=True,
        text=True,
    )
    return output.stdout.split()[0]


@pytest.mark.parametrize("algorithm", COMMANDS)
def test_the_digest_of_a_file_is_that_of_the_command(root: Path, algorithm: Any) -> None:
    """For every algorithm that is offered."""
    (root / "file").write_bytes(os.urandom(3_000_001))
    command = subprocess.run([COMMANDS[algorithm], root / "file"], check=True, capture_output=True, text=True)
    found = checksum("file", algorithm)
    assert found.digest == command.stdout.split()[0]
    assert (found.kind, found.files, found.bytes, found.algorithm) == ("file", 1, 3_000_001, algorithm)


@pytest.mark.parametrize("algorithm", COMMANDS)
def test_the_digest_of_a_tree_is_that_of_the_recipe(root: Path, algorithm: Any) -> None:
    """Names sort by their bytes, not by the words of a language; odd ones are escaped as the commands do."""
    names = [
        "b",
        "a/z",
        "a.txt",
        "a/é",
        "a b",
        "Z",
        "-n",
        "a\\b",
        "new\nline",
        "re\rturn",
        "a/b/c/d",
        "\\n",
        "a-",
    ]
    for name in names:
        (root / "tree" / name).parent.mkdir(parents=True, exist_ok=True)
        (root / "tree" / name).write_text(name * 100)
    with open(os.fsencode(root / "tree") + b"/caf\xe9", "wb") as file:  # noqa: PTH123 - a name that is no text
        file.write(b"x")
    (root / "tree" / "empty folder").mkdir()
    (root / "tree" / "empty file").touch()
    found = checksum("tree", algorithm)
    assert found.digest == in_a_shell(root / "tree", COMMANDS[algorithm])
    assert (found.kind, found.files) == ("tree", len(names) + 2)


def test_an_empty_tree_has_the_digest_of_nothing(root: Path) -> None:
    """As in the shell."""
    (root / "tree").mkdir()
    assert checksum("tree").digest == in_a_shell(root / "tree", "sha256sum") == hashlib.sha256().hexdigest()


def test_the_root_itself_can_be_asked_for(root: Path) -> None:
    """It is a tree like any other."""
    (root / "file").write_text("x")
    assert checksum(".").files == 1


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    names=st.sets(
        st.binary(min_size=1, max_size=8).filter(lambda n: not {0, 47} & set(n) and n not in {b".", b".."})
    )
)
def test_any_names_give_the_recipes_digest(
    tmp_path_factory: pytest.TempPathFactory, names: set[bytes]
) -> None:
    """Whatever bytes a file system allows."""
    folder = tmp_path_factory.mktemp("names")
    for name in names:
        with open(os.fsencode(folder) + b"/" + name, "wb"):  # noqa: PTH123
            pass
    nothing = hashlib.sha256().hexdigest()
    assert tree_digest("sha256", [(name, nothing) for name in sorted(names)]) == in_a_shell(
        folder, "sha256sum"
    )


def test_what_is_no_regular_file_is_skipped_named_and_counted(root: Path, sink: Sink) -> None:
    """A link could lead out of the root, a pipe would block."""
    (root / "secret").write_text("s")
    tree = root / "tree"
    (tree / "in").mkdir(parents=True)
    (tree / "in" / "file").write_text("x")
    (tree / "link").symlink_to("../secret")
    (tree / "folder link").symlink_to("in")
    os.mkfifo(tree / "in" / "pipe")
    found = checksum("tree")
    assert (found.files, found.skipped, found.digest) == (1, 3, in_a_shell(tree, "sha256sum"))
    assert sorted(sink.logs) == [
        "Skipped folder link: it is a symbolic link.",
        "Skipped in/pipe: it is a named pipe.",
        "Skipped link: it is a symbolic link.",
    ]


def test_the_names_of_skipped_files_do_not_flood_the_log(root: Path, sink: Sink) -> None:
    """The first twenty are named, the rest is counted."""
    (root / "tree").mkdir()
    for n in range(50):
        (root / "tree" / str(n)).symlink_to("x")
    assert checksum("tree").skipped == 50
    assert len(sink.logs) == 21
    assert sink.logs[-1] == "Skipped 30 more that are no regular files."


def test_a_special_file_as_the_path_itself_is_refused(root: Path) -> None:
    """With what it is."""
    os.mkfifo(root / "pipe")
    with pytest.raises(PathRefused, match="'pipe' is a named pipe; only files and folders have a checksum"):
        checksum("pipe")


def test_progress_counts_bytes_and_names_the_file(
    root: Path, sink: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bar moves inside a large file, too."""
    monkeypatch.setattr(files, "CHUNK_BYTES", 1000)
    (root / "tree" / "sub").mkdir(parents=True)
    (root / "tree" / "a").write_bytes(bytes(5000))
    (root / "tree" / "sub" / "b").write_bytes(bytes(15_000))
    assert checksum("tree").bytes == 20_000
    assert {"a", "sub/b"} <= set(sink.messages)
    known = [percent for percent in sink.percents if percent is not None]
    assert known == sorted(known)
    assert len(set(known)) > 18
    shown = sink.reporter.meter.read(1000)
    assert (shown.current, shown.total, shown.unit) == (20_000, 20_000, "bytes")


def test_the_bar_does_not_run_ahead_when_files_grow_and_shrink(
    root: Path, sink: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sizes are those of the scan; what is read then may be more or less, and the rest still counts for something."""
    monkeypatch.setattr(files, "CHUNK_BYTES", 1000)
    for name in "abc":
        (root / name).write_bytes(bytes(10_000))
    resized = False

    def resize() -> None:
        nonlocal resized
        if sink.messages[-1] == "a" and not resized:
            resized = True
            (root / "a").write_bytes(bytes(40_000))
            (root / "b").write_bytes(bytes(1000))

    sink.on_change = resize
    found = checksum(".")
    assert found.bytes == 51_000
    known = [percent for percent in sink.percents if percent is not None]
    assert known == sorted(known)
    assert max(known) < 100
    shown = sink.reporter.meter.read(1000)
    assert (shown.current, shown.total) == (51_000, 51_000)


def test_a_file_that_is_written_to_while_it_is_read_is_named_and_counted(root: Path, sink: Sink) -> None:
    """Its digest is of a state that may never have been."""
    (root / "file").write_bytes(bytes(10))

    def append() -> None:
        if sink.percents[-1] and found_at(sink, 10):
            with (root / "file").open("ab") as file:
                file.write(b"more")
            sink.on_change = lambda: None

    sink.on_change = append
    assert checksum("file").changed == 1
    assert sink.logs == ["file was written to while it was read."]


def found_at(sink: Sink, current: int) -> bool:
    return sink.reporter.meter.read(0).current == current


def test_a_file_that_vanishes_after_the_scan_fails_with_a_sentence(root: Path, sink: Sink) -> None:
    """And is worth another attempt."""
    (root / "a").touch()
    (root / "b").touch()

    def remove() -> None:
        if sink.messages[-1] == "a":
            (root / "b").unlink(missing_ok=True)

    sink.on_change = remove
    with pytest.raises(ReadFailed, match="'b' vanished"):
        checksum(".")
    assert checksum.options.retry_on == (ReadFailed,)
    assert checksum.options.max_attempts == 3


def test_a_file_that_vanishes_during_the_scan_was_never_there(root: Path, sink: Sink) -> None:
    """Nothing is promised for it yet."""
    for name in ("a", "b"):
        (root / name).touch()

    def remove() -> None:
        (root / "a").unlink(missing_ok=True)
        (root / "b").unlink(missing_ok=True)

    sink.on_change = remove
    assert checksum(".").files == 0


def test_it_stops_between_two_chunks(root: Path, sink: Sink, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cancel does not wait for the end of a large file."""
    monkeypatch.setattr(files, "CHUNK_BYTES", 1000)
    (root / "large").write_bytes(bytes(1_000_000))

    def cancel() -> None:
        if (sink.reporter.meter.read(0).current or 0) >= 5000:
            sink.reporter.stop = "cancelled"

    sink.on_change = cancel
    with pytest.raises(Stopped):
        checksum("large")
    assert sink.reporter.meter.read(0).current == 5000


def test_the_catalogue_entry_reads_well() -> None:
    """What a form needs."""
    schema = checksum.params_schema
    assert schema["required"] == ["path"]
    assert schema["properties"]["algorithm"]["enum"] == list(COMMANDS)
    assert list(checksum.plan) == ["scan", "hash"]
    assert set(checksum.result_schema["properties"]) >= {"digest", "files", "bytes", "kind", "skipped"}
