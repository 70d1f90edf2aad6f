"""Which files a built-in task may read: those below `MILEPOST_FILES_ROOT`, and no others.

The root is read from the environment at every call (`WorkerSettings.files_root`; default: the working
directory of the worker), so a task needs nothing handed down to it.
"""

from __future__ import annotations

import errno
import os
import stat
from io import FileIO
from pathlib import Path
from typing import Annotated

from pydantic import Field

from milepost.errors import MilepostError
from milepost.settings import load
from milepost_worker.settings import WorkerSettings

PathParam = Annotated[
    str,
    Field(
        min_length=1,
        max_length=4096,
        description="A path in the folder that the worker may read (MILEPOST_FILES_ROOT), or below it.",
    ),
]


class PathRefused(MilepostError, ValueError):
    """This path may not be read. Asking again will not help."""


class ReadFailed(MilepostError):
    """A file could not be read to its end. It may work the next time."""


def confine(path: str) -> Path:
    """Return the real path of `path`, which is relative to the root or lies below it.

    Raises `PathRefused` for what lies outside, also by `..` or a symbolic link, and for what does not exist.
    """
    root = _root()
    try:
        real = Path(os.path.realpath(root / path))
        if not real.is_relative_to(root):
            # Said before looking: whether something exists out there is nobody's business.
            raise PathRefused(
                f"{path!r} lies outside of the folder this worker may read (MILEPOST_FILES_ROOT)."
            )
        real.lstat()
    except ValueError as error:
        if isinstance(error, PathRefused):
            raise
        raise PathRefused(f"{path!r} cannot be a path: {error}.") from None
    except (FileNotFoundError, NotADirectoryError):
        raise PathRefused(
            f"There is no {path!r} in the folder this worker may read (MILEPOST_FILES_ROOT)."
        ) from None
    except OSError as error:
        raise PathRefused(f"{path!r} cannot be read: {error.strerror}.") from None
    return real


def open_regular(path: Path) -> FileIO:
    """Open a path that `confine` returned, or one found below it, for reading; no part of it may be a link.

    Raises `PathRefused` when it is no regular file or not readable, `ReadFailed` when it is not there any more.
    """
    try:
        handle = _open_without_links(path)
        kind = os.fstat(handle).st_mode
    except OSError as error:
        raise failed(path.name, error) from error
    if not stat.S_ISREG(kind):
        os.close(handle)
        raise PathRefused(f"{shown(path.name)!r} is {kind_of(kind)}; only regular files can be read.")
    return FileIO(handle)


def failed(name: str | bytes, error: OSError) -> MilepostError:
    """Return the sentence for an error while the file of this name was read."""
    name = shown(name)
    match error.errno:
        case errno.ENOENT | errno.ENOTDIR | errno.ELOOP:
            return ReadFailed(f"{name!r} vanished or was replaced by a link while this task was reading.")
        case errno.EACCES | errno.EPERM:
            return PathRefused(f"The worker may not read {name!r}: {error.strerror}. Give it permission to.")
        case _:
            return ReadFailed(f"{name!r} could not be read: {error.strerror or error}.")


def kind_of(mode: int) -> str:
    """Return what a file mode stands for, with its article."""
    for test, kind in _KINDS.items():
        if test(mode):
            return kind
    return "a special file"


def shown(name: str | bytes) -> str:
    """Return a file name as text that any reader can take: bytes that are no UTF-8 are replaced."""
    return os.fsencode(name).decode("utf-8", "replace")


_KINDS = {
    stat.S_ISDIR: "a folder",
    stat.S_ISLNK: "a symbolic link",
    stat.S_ISFIFO: "a named pipe",
    stat.S_ISSOCK: "a socket",
    stat.S_ISCHR: "a device",
    stat.S_ISBLK: "a device",
}


def _root() -> Path:
    given = load(WorkerSettings).files_root
    root = Path(os.path.realpath(given))
    if not root.is_dir():
        raise PathRefused(f"MILEPOST_FILES_ROOT of this worker is {str(given)!r}, which is no folder.")
    return root


def _open_without_links(path: Path) -> int:
    # A folder may be replaced by a link between the check and this open, so every component is opened below the one
    # before it, refusing links. O_NONBLOCK: a named pipe without a writer would never return.
    nofollow = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
    leaf = os.O_RDONLY | nofollow | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    if not hasattr(os, "O_PATH"):  # only Linux opens folders that it may pass but not list
        return os.open(path, leaf)
    folder = os.open(path.anchor, os.O_PATH | os.O_DIRECTORY | nofollow)
    try:
        for part in path.parts[1:-1]:
            below = os.open(part, os.O_PATH | os.O_DIRECTORY | nofollow, dir_fd=folder)
            os.close(folder)
            folder = below
        return os.open(path.parts[-1], leaf, dir_fd=folder)
    finally:
        os.close(folder)
