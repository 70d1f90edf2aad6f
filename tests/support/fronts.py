"""Real proxies in front of an API: the files in deploy/ with other addresses, and the defaults that people have."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import httpx2
import pytest
import trustme

from tests.support.ports import free_port
from tests.support.process import ROOT, Process
from tests.support.wait import eventually

DEPLOY = ROOT / "deploy"
SHIPPED = ("nginx", "haproxy", "caddy")
"""The proxies with a file in deploy/."""
ALL = (*SHIPPED, "nginx-default", "nginx-gzip", "caddy-encode", "haproxy-20s")
"""Those, and what they are often turned into; `nginx-default` has one line that is not nginx's own: where to."""

Changes = Sequence[tuple[str, str]]

_PLAIN_NGINX = """
pid /run/nginx.pid;
events {}
http {
    access_log off;
    client_body_temp_path /tmp/nginx-client;
    proxy_temp_path /tmp/nginx-proxy;
    fastcgi_temp_path /tmp/nginx-fastcgi;
    uwsgi_temp_path /tmp/nginx-uwsgi;
    scgi_temp_path /tmp/nginx-scgi;
    upstream api { server 127.0.0.1:8001; server 127.0.0.1:8002; }
    server {
        listen 80;
        location / { proxy_pass http://api; }
    }
}
"""
_GZIP = "gzip on; gzip_types *; gzip_proxied any; gzip_min_length 1; gzip_comp_level 9;"


def program(name: str) -> str:
    """Return the program of a proxy; fails the test when there is none, since a skip would hide it."""
    if named := os.environ.get(f"MILEPOST_TEST_{name.upper()}"):
        return named
    if path := shutil.which(name, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/usr/local/sbin"):
        return path
    pytest.fail(
        f"This test needs {name}. Run `python3 dev.py test`, which finds or brings it, or set "
        f"MILEPOST_TEST_{name.upper()}=/path/to/{name}."
    )


def derived(text: str, changes: Changes) -> str:
    """Return a configuration with other addresses or times; what is to be changed must be there, once."""
    for old, new in changes:
        assert text.count(old) == 1, f"the file holds {old!r} {text.count(old)} times instead of once"
        text = text.replace(old, new)
    return text


@dataclass
class Front:
    """One proxy on ports of its own: `url` is where streams are read, `plain` where there is no TLS."""

    name: str
    folder: Path
    upstreams: tuple[int, int]
    changes: Changes = ()
    port: int = field(default_factory=free_port)
    tls_port: int = field(default_factory=free_port)
    process: Process = field(init=False)

    @property
    def kind(self) -> str:
        return self.name.partition("-")[0]

    @property
    def plain(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        own = self.name in {"nginx-default", "nginx-gzip"}
        return self.plain if own else f"https://localhost:{self.tls_port}"

    def __enter__(self) -> Self:
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "config").write_text(_CONFIGURATIONS[self.kind](self))
        self._check()
        command, env = _COMMANDS[self.kind], self._environment()
        argv = [program(self.kind), *(word.format(folder=self.folder) for word in command)]
        self.process = Process(self.name, argv, log=self.folder / "output.log", env=env, cwd=self.folder)
        self.process.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()

    async def ready(self) -> Self:
        """Wait until an API answers through it."""
        async with httpx2.AsyncClient(verify=False, trust_env=False) as http:

            async def answers() -> bool:
                self.process.check_alive()
                return bool((await http.get(f"{self.url}/healthz")).status_code == 200)

            await eventually(answers, f"{self.name} is ready", ignoring=(httpx2.HTTPError,))
        return self

    def written(self) -> str:
        """Return everything that the proxy has written to any log."""
        return "".join(path.read_text() for path in sorted(self.folder.glob("*.log")))

    def _check(self) -> None:
        """Let the proxy's own checker have a look, warnings included where it has a switch for that."""
        argv = [program(self.kind), *(word.format(folder=self.folder) for word in _CHECKS[self.kind])]
        done = subprocess.run(
            argv, env=self._environment(), cwd=self.folder, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{' '.join(argv)}:\n{done.stdout}{done.stderr}"

    def _environment(self) -> Mapping[str, str]:
        home = {
            "HOME": str(self.folder),
            "XDG_DATA_HOME": str(self.folder),
            "XDG_CONFIG_HOME": str(self.folder),
        }
        site = {"SITE_ADDRESS": self.url, "API_HOST": "127.0.0.1", "API_PORT": str(self.upstreams[0])}
        return {**os.environ, **home, **site}


def _upstreams(front: Front) -> Changes:
    return [(f"127.0.0.1:{8001 + n}", f"127.0.0.1:{port}") for n, port in enumerate(front.upstreams)]


def _nginx(front: Front) -> str:
    here: list[tuple[str, str]] = [("/run/nginx.pid", f"{front.folder}/nginx.pid"), *_upstreams(front)]
    here += [(f"/tmp/nginx-{name};", f"{front.folder}/{name};") for name in _NGINX_FOLDERS]
    if front.name in {"nginx-default", "nginx-gzip"}:
        here.append(("listen 80;", f"listen 127.0.0.1:{front.port};"))
        if front.name == "nginx-gzip":
            here.append(("access_log off;", f"access_log off; {_GZIP}"))
        return derived(_PLAIN_NGINX, [*here, *front.changes])
    _certificate(front.folder)
    here += [
        ("listen 80 ", f"listen 127.0.0.1:{front.port} "),
        ("listen 443 ", f"listen 127.0.0.1:{front.tls_port} "),
        ("/etc/milepost/tls/fullchain.pem", f"{front.folder}/fullchain.pem"),
        ("/etc/milepost/tls/privkey.pem", f"{front.folder}/privkey.pem"),
        ("/var/log/nginx/access.log", f"{front.folder}/access.log"),
        ("/var/log/nginx/error.log notice", f"{front.folder}/error.log notice"),
        ("/var/log/nginx/error.log emerg", f"{front.folder}/error.log emerg"),
    ]
    return derived((DEPLOY / "nginx.conf").read_text(), [*here, *front.changes])


def _haproxy(front: Front) -> str:
    _certificate(front.folder)
    here = [
        ("bind :80\n", f"bind 127.0.0.1:{front.port}\n"),
        ("bind :443 ", f"bind 127.0.0.1:{front.tls_port} "),
        ("/etc/milepost/tls/site.pem", f"{front.folder}/site.pem"),
        *_upstreams(front),
    ]
    if front.name == "haproxy-20s":
        here += [(f"timeout {side} 75s", f"timeout {side} 20s") for side in ("client", "server")]
    return derived((DEPLOY / "haproxy.cfg").read_text(), [*here, *front.changes])


def _caddy(front: Front) -> str:
    text = (DEPLOY / "Caddyfile").read_text()
    here = [
        ("http://:8000 ", f"http://:{front.port} "),
        ("admin off\n", f"admin off\n\thttp_port {free_port()}\n"),
    ]
    if front.upstreams[0] != front.upstreams[1]:
        # In production every API has an address of its own and the same port; here it is the other way round.
        start, end = text.index("dynamic a {"), text.index("# Streams are long")
        here.append(
            (text[start:end], "to " + " ".join(f"127.0.0.1:{port}" for port in front.upstreams) + "\n")
        )
    if caddy_version() < (2, 7):
        # What Debian carries has other words for it.
        here.append(("request_buffers 2MiB", "buffer_requests\n\t\tmax_buffer_size 2MiB"))
    if front.name == "caddy-encode":
        start, end = text.index("encode gzip {"), text.index("reverse_proxy {")
        here.append((text[start:end], "encode zstd gzip\n"))
    return derived(text, [*here, *front.changes])


def caddy_version() -> tuple[int, int]:
    """Return the version of this machine's Caddy; a build that does not know its own is taken for a young one."""
    said = subprocess.run([program("caddy"), "version"], capture_output=True, text=True, check=True).stdout
    found = re.match(r"v?(\d+)\.(\d+)", said)
    return (int(found[1]), int(found[2])) if found else (2, 999)


def _certificate(folder: Path) -> None:
    own = trustme.CA().issue_cert("localhost", "127.0.0.1")
    own.private_key_pem.write_to_path(folder / "privkey.pem")
    own.private_key_and_cert_chain_pem.write_to_path(folder / "site.pem")
    for part in own.cert_chain_pems:
        part.write_to_path(folder / "fullchain.pem", append=True)


_NGINX_FOLDERS = ("client", "proxy", "fastcgi", "uwsgi", "scgi")
_CONFIGURATIONS = {"nginx": _nginx, "haproxy": _haproxy, "caddy": _caddy}
_CHECKS = {
    "nginx": ["-t", "-e", "stderr", "-p", "{folder}", "-c", "{folder}/config"],
    "haproxy": ["-c", "-dW", "-f", "{folder}/config"],
    "caddy": ["validate", "--adapter", "caddyfile", "--config", "{folder}/config"],
}
_COMMANDS = {
    "nginx": ["-e", "stderr", "-p", "{folder}", "-c", "{folder}/config", "-g", "daemon off;"],
    "haproxy": ["-db", "-f", "{folder}/config"],
    "caddy": ["run", "--adapter", "caddyfile", "--config", "{folder}/config"],
}


class Fronts:
    """Starts proxies, and stops them all at the end."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._running, self._count = folder, ExitStack(), 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._running.close()

    async def start(self, name: str, *upstreams: int, changes: Changes = ()) -> Front:
        """Put that proxy before APIs on one port or two; wait until one of them answers through it."""
        return await self.launch(name, *upstreams, changes=changes).ready()

    def launch(self, name: str, *upstreams: int, changes: Changes = ()) -> Front:
        """Do the same for APIs that do not answer."""
        self._count += 1
        folder = self._folder / f"{name}-{self._count}"
        front = Front(name, folder, (upstreams[0], upstreams[-1]), changes)
        return self._running.enter_context(front)
