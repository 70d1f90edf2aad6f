"""Checksums of files and of whole trees."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

from pydantic import Field

from milepost import progress, task
from milepost_worker.builtin.confine import (
    PathParam,
    PathRefused,
    ReadFailed,
    confine,
    failed,
    kind_of,
    open_regular,
    shown,
)

CHUNK_BYTES = 1 << 20
SKIPS_TOLD = 20
"""Skipped entries that are named one by one; the rest is counted."""

Algorithm = Annotated[
    Literal["sha256", "sha512", "sha1", "md5", "blake2b"],
    Field(description="As computed by sha256sum, sha512sum, sha1sum, md5sum and b2sum."),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Checksum:
    """The digest (lowercase hexadecimal) of a file or a tree, and what went into it."""

    digest: str
    algorithm: str
    kind: Literal["file", "tree"]
    files: int
    bytes: int
    skipped: int = 0
    changed: int = 0


class Found(NamedTuple):
    """A regular file: its path relative to the top with `/` between the parts, as bytes, and its size."""

    name: bytes
    size: int


@task(name="files.checksum", max_attempts=3, retry_on=ReadFailed)
def checksum(path: PathParam, algorithm: Algorithm = "sha256") -> Checksum:
    r"""Compute the checksum of a file, or of a whole folder with everything below it.

    The digest of a file is that of its content. The digest of a tree is the digest of the text that the
    algorithm's own command prints for its regular files, sorted by the bytes of their relative paths: a line
    `<hex digest>  <path>` for each. In a shell, inside the folder:

        find . -type f -printf '%P\0' | LC_ALL=C sort -z | xargs -0r sha256sum -- | sha256sum

    As there, a path with a backslash, a newline or a carriage return has these written as `\\`, `\n` and
    `\r`, and its line begins with a backslash. Names count, times and permissions do not. Symbolic links,
    pipes, sockets and devices in a tree are skipped, named in the log and counted; as `path` itself they are
    refused, except for a link that stays inside the folder which the worker may read.
    """
    top = confine(path)
    is_tree = top.is_dir()
    with progress.step("scan", weight=1):
        scanner = _Scanner(top)
        found = sorted(scanner.scan()) if is_tree else [_single(top)]
    with progress.step("hash", weight=49):
        reader = _Reader(top, algorithm, sum(file.size for file in found))
        digests = ((file.name, reader.digest(file)) for file in found)
        digest = tree_digest(algorithm, digests) if is_tree else next(digests)[1]
    return Checksum(
        digest=digest,
        algorithm=algorithm,
        kind="tree" if is_tree else "file",
        files=len(found),
        bytes=reader.done,
        skipped=scanner.skipped,
        changed=reader.changed,
    )


def tree_digest(algorithm: str, digests: Iterable[tuple[bytes, str]]) -> str:
    """Return the digest over one line per file; `digests` are sorted pairs of relative path and hex digest."""
    whole = _new(algorithm)
    for name, digest in digests:
        escaped = name.replace(b"\\", b"\\\\").replace(b"\n", b"\\n").replace(b"\r", b"\\r")
        mark = b"\\" if escaped != name else b""
        whole.update(b"%s%s  %s\n" % (mark, digest.encode("ascii"), escaped))
    return whole.hexdigest()


class _Reader:
    """Hashes one file after the other and reports the bytes of all of them."""

    def __init__(self, top: Path, algorithm: str, total: int) -> None:
        self._top, self._algorithm, self._total = top, algorithm, total
        self.done = self.changed = 0
        self._buffer = memoryview(bytearray(CHUNK_BYTES))
        progress(0, total, unit="bytes")

    def digest(self, found: Found) -> str:
        """Return the digest of one file, all that is in it when its end is reached."""
        digest, path = _new(self._algorithm), _below(self._top, found.name)
        name = _shown(found.name) or shown(path.name)
        progress(message=name)
        with open_regular(path) as file:
            before = os.fstat(file.fileno())
            try:
                size = self._read(file, found.size, digest)
            except OSError as error:
                raise failed(name, error) from error
            after = os.fstat(file.fileno())
        self._total += min(0, size - found.size)  # it has shrunk since the scan
        if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
            self.changed += 1
            progress.log(f"{name} was written to while it was read.", "warning")
        return digest.hexdigest()

    def _read(self, file: FileIO, expected: int, digest: hashlib._Hash) -> int:
        size = 0
        while count := file.readinto(self._buffer):
            digest.update(self._buffer[:count])
            size += count
            self.done += count
            # What has grown since the scan moves the end away, so that the files after it still count for something.
            self._total += min(count, max(0, size - expected))
            progress(self.done, self._total)
        return size


class _Scanner:
    """Finds the regular files below `top`; the rest is skipped, named and counted."""

    def __init__(self, top: Path) -> None:
        self._top, self._files, self.skipped = top, 0, 0

    def scan(self) -> Iterator[Found]:
        """Yield what is there, in no order. No recursion: a tree may be deep."""
        folders = [b""]
        while folders:
            folder = folders.pop()
            progress(self._files, message=_shown(folder) or ".", unit="files")
            try:
                with os.scandir(_below(self._top, folder)) as entries:
                    for entry in entries:
                        name = (folder + b"/" if folder else b"") + os.fsencode(entry.name)
                        yield from self._look(name, entry, folders)
            except OSError as error:
                raise failed(folder, error) from error
        if self.skipped > SKIPS_TOLD:
            progress.log(f"Skipped {self.skipped - SKIPS_TOLD} more that are no regular files.", "warning")

    def _look(self, name: bytes, entry: os.DirEntry[str], folders: list[bytes]) -> Iterator[Found]:
        try:
            status = entry.stat(follow_symlinks=False)
        except FileNotFoundError:
            return  # gone since the folder was listed, as if it had never been there
        if stat.S_ISDIR(status.st_mode):
            folders.append(name)
        elif stat.S_ISREG(status.st_mode):
            self._files += 1
            progress(self._files)
            yield Found(name, status.st_size)
        else:
            self.skipped += 1
            if self.skipped <= SKIPS_TOLD:
                progress.log(f"Skipped {_shown(name)}: it is {kind_of(status.st_mode)}.", "warning")


def _single(path: Path) -> Found:
    try:
        status = path.lstat()
    except OSError as error:
        raise failed(path.name, error) from error
    if not stat.S_ISREG(status.st_mode):
        raise PathRefused(
            f"{shown(path.name)!r} is {kind_of(status.st_mode)}; only files and folders have a checksum."
        )
    return Found(b"", status.st_size)


def _below(top: Path, name: bytes) -> Path:
    return top / os.fsdecode(name) if name else top


def _shown(name: bytes) -> str:
    return name.decode("utf-8", "replace")


def _new(algorithm: str) -> hashlib._Hash:
    return hashlib.new(algorithm, usedforsecurity=False)
