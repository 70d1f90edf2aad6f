"""Making the checkout itself importable: an editable installation, written by hand.

`pip install -e .` cannot be combined with --require-hashes, and building in isolation fetches a
build backend that no lock file knows. The same result is five small files.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
from pathlib import Path

from devtools.console import quietly
from devtools.environment import BIN, PYTHON, ROOT

SOURCES = [ROOT, ROOT / "api", ROOT / "worker"]  # the folders that hold the three packages

# sh starts the interpreter, not the kernel: a #! line may be neither long nor hold a space.
SCRIPT = """\
#!/bin/sh
'''exec' "{python}" "$0" "$@"
' '''
import sys

from {module} import {function}

sys.exit({function}())
"""


def link() -> None:
    """Let `import milepost`, its version and its console script work from .venv."""
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    where = quietly([PYTHON, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"])
    site_packages = Path(where.strip())
    for stale in site_packages.glob(f"{project['name']}-*.dist-info/*"):
        stale.unlink()
    for stale in site_packages.glob(f"{project['name']}-*.dist-info"):
        stale.rmdir()

    info = site_packages / f"{project['name']}-{project['version']}.dist-info"
    origin = {"url": ROOT.as_uri(), "dir_info": {"editable": True}}
    written = {
        site_packages / f"_{project['name']}.pth": "".join(f"{folder}\n" for folder in SOURCES),
        info / "METADATA": metadata(project),
        info / "INSTALLER": "dev.py\n",
        info / "direct_url.json": json.dumps(origin),
        info / "entry_points.txt": entry_points(project["scripts"]),
    }
    for name, target in project["scripts"].items():
        module, _, function = target.partition(":")
        written[BIN / name] = SCRIPT.format(python=PYTHON, module=module, function=function)

    info.mkdir()
    for path, text in written.items():
        path.write_text(text)
    for name in project["scripts"]:
        (BIN / name).chmod(0o755)
    # With the record, `pip uninstall` and a later `pip install .` know what to take away.
    rows = [record(path, site_packages) for path in written]
    (info / "RECORD").write_text("".join(rows) + f"{info.name}/RECORD,,\n")


def metadata(project: dict[str, object]) -> str:
    """Write what importlib.metadata reads."""
    lines = ["Metadata-Version: 2.4"]
    lines += [f"{key.capitalize()}: {project[key]}" for key in ("name", "version")]
    lines += [f"Summary: {project['description']}", f"Requires-Python: {project['requires-python']}"]
    return "\n".join(lines) + "\n"


def entry_points(scripts: dict[str, str]) -> str:
    """Write the console scripts the way an installer records them."""
    return "[console_scripts]\n" + "".join(f"{name} = {target}\n" for name, target in scripts.items())


def record(path: Path, base: Path) -> str:
    """Write one line of RECORD: path, hash, size."""
    content = path.read_bytes()
    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
    return f"{os.path.relpath(path, base)},sha256={digest},{len(content)}\n"
