"""The peers that are measured beside Milepost and are not Python: nchan in nginx, better-sse on Node."""

from __future__ import annotations

from pathlib import Path

from devtools import apt, proxies
from devtools.console import CommandFailed, Stop, say
from devtools.environment import ROOT
from devtools.tools import node, npm_modules

NPM_PROJECT = ROOT / "benchmarks" / "servers" / "node"
NCHAN = "nginx/modules/ngx_nchan_module.so"


def for_benchmarks() -> dict[str, str]:
    """Find or bring the peers; return the variables that tell the benchmarks where they are.

    One that cannot be had is left out with a sentence: the table says so, and so do the tests that need it.
    """
    found = {"MILEPOST_BENCH_NODE": str(node())}
    npm_modules(NPM_PROJECT)
    try:
        nginx, nchan = nginx_with_nchan()
    except (CommandFailed, Stop) as failure:
        say(
            "There is no nchan here, so nothing is measured beside it. Install it (Debian: sudo apt-get install "
            f"libnginx-mod-nchan) and run this again. What was tried said:\n{failure}"
        )
        return found
    return {**found, "MILEPOST_BENCH_NGINX": str(nginx), "MILEPOST_BENCH_NCHAN": str(nchan)}


def nginx_with_nchan() -> tuple[Path, Path]:
    """Return nginx and nchan's module, unpacked from Debian where they are not installed."""
    if proxies.installed("nginx") is None:
        proxies.bring(["nginx"])
    if module() is None:
        apt.unpack("libnginx-mod-nchan", folder=proxies.UNPACKED, purpose="nchan for the benchmarks")
    nginx, nchan = proxies.installed("nginx"), module()
    if nginx is None or nchan is None:
        raise Stop("Debian's libnginx-mod-nchan holds no module of that name")
    return nginx, nchan


def module() -> Path | None:
    """Return nchan's module on this machine, or None."""
    places = [Path("/usr/lib"), proxies.UNPACKED / "usr/lib", proxies.UNPACKED / "lib"]
    return next((place / NCHAN for place in places if (place / NCHAN).exists()), None)
