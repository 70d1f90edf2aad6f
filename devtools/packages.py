"""Making .venv and filling it from a lock file: with uv, and with pip where uv cannot."""

from __future__ import annotations

import ast
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from devtools import apt
from devtools.console import Command, CommandFailed, Stop, quietly, say, works
from devtools.environment import BIN, LOCKS, PYTHON, ROOT, VENV

UV = BIN / "uv"

# An unreachable index shall be a sentence within a minute, not after pip's five patient retries.
# PIP_USER in the developer's environment would make pip refuse to install into .venv.
PIP_ENV = {"PIP_RETRIES": "2", "PIP_USER": "0", "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INPUT": "1"}

# uv brings certificates of its own and would fetch a Python of its own; both end badly behind a
# company proxy. The machine's certificates and the Python that is here are the right ones.
UV_ENV = {"UV_SYSTEM_CERTS": "1", "UV_PYTHON_DOWNLOADS": "never", "UV_NO_PROGRESS": "1"}


def base_python() -> str:
    """Return the interpreter .venv is made from, also when dev.py runs inside that very .venv."""
    return str(getattr(sys, "_base_executable", None) or sys.executable)


def ensure_venv() -> None:
    """Make .venv, or make it anew when it is half-made or its Python is gone."""
    fits: Command = [PYTHON, "-c", "import sys; sys.exit(sys.version_info < (3, 11))"]
    if PYTHON.exists() and works(fits) and (UV.exists() or works([PYTHON, "-c", "import pip"])):
        return
    if VENV.exists() or VENV.is_symlink():
        say("The environment in .venv is incomplete; making it anew.")
        discard_venv()
    say(f"Making a virtual environment in .venv with Python {sys.version.split()[0]}.")
    reasons: list[str] = []
    for way in (by_venv, by_uv_on_path, by_pip_of_the_system, by_venv_from_apt):
        try:
            way()
        except (CommandFailed, Stop) as failure:
            reasons.append(failure.reason() if isinstance(failure, CommandFailed) else str(failure))
            discard_venv()
        else:
            return
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    details = "\n".join(dict.fromkeys(reasons))
    raise Stop(
        f"This Python cannot make a virtual environment. Install its venv module (Debian: sudo apt-get "
        f"install python{version}-venv) and run this again. What was tried said:\n{details}"
    )


def discard_venv() -> None:
    """Remove .venv, whatever it is."""
    if VENV.is_symlink() or VENV.is_file():
        VENV.unlink()
    else:
        shutil.rmtree(VENV, ignore_errors=True)


def by_venv() -> None:
    """Use the standard library, as nearly every Python can."""
    quietly([base_python(), "-m", "venv", VENV])


def by_uv_on_path() -> None:
    """Use a uv that is already on this machine: it needs neither ensurepip nor root."""
    uv = shutil.which("uv")
    if uv is None:
        raise Stop("there is no uv on PATH")
    quietly([uv, "venv", "--python", base_python(), VENV], env=UV_ENV)
    BIN.joinpath("uv").symlink_to(uv)


def by_pip_of_the_system() -> None:
    """Use the system's pip to put uv into an environment that has no pip of its own."""
    quietly([base_python(), "-m", "pip", "--version"])
    quietly([base_python(), "-m", "venv", "--without-pip", VENV])
    install_uv([base_python(), "-m", "pip", "--python", str(PYTHON)])


def by_venv_from_apt() -> None:
    """Debian ships ensurepip separately; bring it and try once more."""
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    apt.install(f"python{version}-venv", purpose="Python's venv module")
    by_venv()


def stanza(lock: str, name: str) -> str:
    """Cut one package, with its hashes, out of the text of a lock file."""
    found = re.search(rf"^{re.escape(name)}==.*\n(?:[ \t]+.*\n?)*", lock, re.MULTILINE)
    if found is None:
        raise Stop(f"The lock file does not name {name}; write it anew with: python3 dev.py lock")
    return found.group()


def install_uv(pip: list[str]) -> None:
    """Install uv from its own lines in the development lock, checked by hash like everything else."""
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as only_uv:
        only_uv.write(stanza(LOCKS["test"].read_text(), "uv"))
        only_uv.flush()
        # Never build it: without a wheel for this platform pip serves better than a Rust compiler.
        options = ["--require-hashes", "--no-deps", "--only-binary", ":all:", "--quiet"]
        quietly([*pip, "install", *options, "-r", only_uv.name], env=PIP_ENV)


def install(lock: Path) -> None:
    """Install what a lock file names, every archive checked by hash."""
    count = len(re.findall(r"^[a-z0-9._-]+==", lock.read_text(), re.MULTILINE | re.IGNORECASE))
    say(f"Installing the {count} packages of {lock.name}.")
    ways: list[Callable[[Path], None]] = [with_uv, with_pip]
    failures: list[CommandFailed] = []
    for way in ways:
        try:
            way(lock)
        except CommandFailed as failure:
            failures.append(failure)
            if way is with_uv:
                say(f"No luck with uv ({failure.reason()}); trying pip, which takes longer.")
        else:
            return
    raise Stop(
        f"The packages of {lock.name} could not be installed. Is there a network, and does pip know "
        f"your package index ({PYTHON.relative_to(ROOT)} -m pip config list)? Then run this again.\n"
        f"uv said:\n{failures[0].tail(4)}\npip said:\n{failures[1].tail(4)}"
    )


def with_uv(lock: Path) -> None:
    """Install with uv: seconds instead of most of a minute."""
    ensure_uv()
    command: Command = [UV, "pip", "install", "--quiet", "--python", PYTHON, "--require-hashes", "-r", lock]
    quietly(command, env=uv_environment())


def with_pip(lock: Path) -> None:
    """Install with pip, for platforms without uv and for indexes that only pip can reach."""
    command: Command = [PYTHON, "-m", "pip", "install", "--quiet", "--require-hashes", "-r", lock]
    quietly(command, env=PIP_ENV)


def ensure_uv() -> None:
    """Have uv in .venv."""
    if not UV.exists():
        install_uv([str(PYTHON), "-m", "pip"])


def uv_environment() -> dict[str, str]:
    """Return the environment for uv, with what pip knows of this machine's package index."""
    try:
        known = from_pip(quietly([PYTHON, "-m", "pip", "config", "list"]))
    except CommandFailed:
        known = {}  # no pip in .venv: uv has come some other way and is configured for itself
    return {**UV_ENV, **{name: value for name, value in known.items() if name not in os.environ}}


def from_pip(listing: str) -> dict[str, str]:
    """Translate `pip config list` for uv, which reads none of pip's configuration."""
    options: dict[str, str] = {}
    # An environment variable beats the [install] section, which beats [global].
    order = {"global": 0, "install": 1, ":env:": 2}
    lines = [re.match(r"(:env:|global|install)\.([a-z-]+)=(.+)", line) for line in listing.splitlines()]
    for found in sorted(filter(None, lines), key=lambda line: order[line[1]]):
        options[found[2]] = " ".join(str(ast.literal_eval(found[3])).split())

    names = {"index-url": "UV_DEFAULT_INDEX", "extra-index-url": "UV_INDEX", "cert": "SSL_CERT_FILE"}
    names["trusted-host"] = "UV_INSECURE_HOST"
    translated = {uv: options[pip] for pip, uv in names.items() if options.get(pip)}
    if options.get("find-links"):
        translated["UV_FIND_LINKS"] = options["find-links"].replace(" ", ",")
    if options.get("no-index", "").lower() in {"1", "true", "yes", "on"}:
        translated["UV_NO_INDEX"] = "1"
    if "UV_INDEX" in translated:
        # The hash decides which archive is the right one, so every index may be asked.
        translated["UV_INDEX_STRATEGY"] = "unsafe-best-match"
    return translated
