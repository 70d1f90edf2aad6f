"""Which files a built-in task may read."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
from milepost_worker.builtin import confine as module
from milepost_worker.builtin.confine import PathRefused, ReadFailed, confine, open_regular, shown

WORLD = Path(os.devnull)


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A root with a file beside it that nobody may see."""
    root = tmp_path / "root"
    (root / "in" / "side").mkdir(parents=True)
    (root / "in" / "file").write_text("hello")
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "rooted").mkdir()
    monkeypatch.setenv("MILEPOST_FILES_ROOT", str(root))
    return root


@pytest.mark.parametrize("path", ["in/file", "./in//file", "in/side/../file", "in/side/../../in/file"])
def test_paths_below_the_root_are_allowed(root: Path, path: str) -> None:
    """However they are written."""
    assert confine(path) == Path(os.path.realpath(root / "in" / "file"))
    with open_regular(confine(path)) as file:
        assert file.read() == b"hello"


def test_an_absolute_path_is_allowed_if_it_lies_below(root: Path) -> None:
    """And the root itself is."""
    assert confine(str(root / "in" / "file")).name == "file"
    assert confine(".") == confine(str(root)) == Path(os.path.realpath(root))


@pytest.mark.parametrize(
    "path",
    [
        "..",
        "../secret",
        "in/../../secret",
        "/etc/passwd",
        "/",
        "../rooted",
        "../nothing",
        "in/file/../../../secret",
    ],
)
def test_paths_outside_are_refused_whether_they_exist_or_not(root: Path, path: str) -> None:
    """With the same sentence: what exists out there is nobody's business, and neither is where the root is."""
    with pytest.raises(PathRefused, match="lies outside of the folder this worker may read") as refused:
        confine(path)
    assert str(root) not in str(refused.value)


def test_links_that_lead_out_are_refused_and_those_that_stay_in_are_followed(root: Path) -> None:
    """Also when the link is a folder on the way."""
    (root / "out").symlink_to("../secret")
    (root / "up").symlink_to("..")
    (root / "alias").symlink_to("in")
    for path in ("out", "up/secret", "up/root/../secret"):
        with pytest.raises(PathRefused, match="lies outside"):
            confine(path)
    assert confine("alias/file") == confine("in/file")


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("nope", "There is no 'nope'"),
        ("in/file/below", "There is no 'in/file/below'"),
        ("a\0b", "cannot be a path: .*embedded null"),
        ("x" * 300, "cannot be read: File name too long"),
    ],
)
def test_paths_that_lead_nowhere_are_refused_with_a_sentence(root: Path, path: str, sentence: str) -> None:
    """And not with a traceback of Python's."""
    with pytest.raises(PathRefused, match=sentence):
        confine(path)


def test_a_loop_of_links_is_refused(root: Path) -> None:
    """It leads nowhere, and looking does not hang."""
    (root / "a").symlink_to("b")
    (root / "b").symlink_to("a")
    with pytest.raises((PathRefused, ReadFailed)):
        open_regular(confine("a"))


def test_the_root_is_looked_up_at_every_call(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And is the working directory by default."""
    monkeypatch.delenv("MILEPOST_FILES_ROOT")
    monkeypatch.chdir(tmp_path)
    assert confine("secret") == Path(os.path.realpath(tmp_path / "secret"))
    monkeypatch.setenv("MILEPOST_FILES_ROOT", str(tmp_path / "nowhere"))
    with pytest.raises(
        PathRefused, match=r"MILEPOST_FILES_ROOT of this worker is '.*nowhere', which is no folder"
    ):
        confine("secret")


def test_special_files_are_not_opened(root: Path) -> None:
    """A pipe without a writer would block for ever, a device might never end."""
    os.mkfifo(root / "pipe")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(os.path.relpath(root / "socket"))
        for name, kind in (("pipe", "a named pipe"), ("in", "a folder")):
            with pytest.raises(PathRefused, match=f"is {kind}; only regular files"):
                open_regular(confine(name))
        with pytest.raises((PathRefused, ReadFailed)):
            open_regular(confine("socket"))
    with pytest.raises(PathRefused, match="is a device"):
        open_regular(WORLD)


def test_a_folder_that_becomes_a_link_after_the_check_is_not_followed(root: Path) -> None:
    """Between the check and the opening somebody may swap them; every part is opened without following links."""
    checked = confine("in/file")
    (root / "in").rename(root / "moved")
    (root / "in").symlink_to(root.parent)
    (root.parent / "file").write_text("secret")
    with pytest.raises(ReadFailed, match="'file' vanished or was replaced by a link"):
        open_regular(checked)


def test_a_file_that_becomes_a_link_after_the_check_is_not_followed(root: Path) -> None:
    """The same for the last part."""
    checked = confine("in/file")
    checked.unlink()
    checked.symlink_to("../../secret")
    with pytest.raises(ReadFailed, match="vanished or was replaced by a link"):
        open_regular(checked)


def test_a_file_that_may_not_be_read_is_refused(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With what to do about it; asking again would not help."""

    def denied(path: Path) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(module, "_open_without_links", denied)
    with pytest.raises(
        PathRefused, match=r"The worker may not read 'file': Permission denied. Give it permission"
    ):
        open_regular(confine("in/file"))


def test_no_descriptor_is_left_open(root: Path) -> None:
    """Neither by success nor by refusal."""
    os.mkfifo(root / "pipe")
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(10):
        open_regular(confine("in/file")).close()
        with pytest.raises(PathRefused):
            open_regular(confine("pipe"))
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_names_that_are_no_utf8_are_shown_with_replacements() -> None:
    """Every reader can take them."""
    assert shown(os.fsdecode(b"caf\xe9")) == shown(b"caf\xe9") == "caf\ufffd"
