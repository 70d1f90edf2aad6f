"""Comparing the pictures of one run of the tests with those of another."""

from __future__ import annotations

from pathlib import Path

import pytest

from devtools.looks import compare, keep, main, page


def pictures(folder: Path, **drawn: bytes) -> None:
    for old in folder.glob("*.png"):
        old.unlink()
    for name, body in drawn.items():
        (folder / f"{name}.png").write_bytes(body)


def test_what_changed_is_told_from_what_did_not(tmp_path: Path) -> None:
    """A picture is changed, new, gone or the same."""
    pictures(tmp_path, bar=b"blue", list=b"short", old=b"x")
    assert keep(tmp_path) == 3
    pictures(tmp_path, bar=b"red", list=b"short", fresh=b"y")

    looks = compare(tmp_path)
    assert (looks.changed, looks.new, looks.gone, looks.same) == (
        ["bar.png"],
        ["fresh.png"],
        ["old.png"],
        ["list.png"],
    )
    shown = page(looks)
    assert "1 changed, 1 new, 1 gone, 1 the same" in shown
    assert shown.count('src="before/bar.png"') == 2, "beside the new one, and under it"
    assert "list.png" not in shown


def test_keeping_forgets_what_was_kept(tmp_path: Path) -> None:
    """Otherwise a page that was taken away would be gone for ever."""
    pictures(tmp_path, old=b"x")
    keep(tmp_path)
    pictures(tmp_path, new=b"y")
    keep(tmp_path)
    assert compare(tmp_path).gone == []


def test_the_command_line_writes_a_page_or_says_what_is_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Comparing with nothing is a mistake, and is said in a sentence."""
    assert main(["compare"], tmp_path) == 2
    assert "`keep` first" in capsys.readouterr().err
    assert main(["look"], tmp_path) == 2
    pictures(tmp_path, bar=b"blue")
    assert main(["keep"], tmp_path) == 0
    assert main(["compare"], tmp_path) == 0
    assert "0 changed" in (tmp_path / "looks.html").read_text()
