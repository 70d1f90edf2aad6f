"""What may not stand in the repository, and what must."""

import json
import re
import subprocess
import tomllib
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@cache
def tracked(*options):
    """Name what git keeps; also where the checkout belongs to somebody else, as it does in containers."""
    command = ["git", "-c", "safe.directory=*", "ls-files", "-z", *options]
    listing = subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout.decode()
    return [ROOT / name for name in listing.split("\0") if name]


def lines_matching(pattern):
    found = []
    for path in tracked():
        if not path.is_file() or path.is_symlink():
            continue
        text = path.read_bytes().decode(errors="replace")
        for number, line in enumerate(text.splitlines(), start=1):
            if pattern.search(line):
                found.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()[:120]}")
    return found


# Put together from pieces, so that this file does not hold what it forbids.
REGISTRIES = [
    ("pypi", "org"),
    ("pythonhosted", "org"),
    ("npmjs", "org"),
    ("npmjs", "com"),
    ("yarnpkg", "com"),
    ("deb.debian", "org"),
    ("ghcr", "io"),
    ("docker", "io"),
    ("quay", "io"),
]
MACHINE_PATHS = [("work", "main"), ("work", "wt"), ("work", "shared"), ("opt", "wheels")]
SECRETS = [
    "-----BEGIN [A-Z ]*PRIVATE KEY",
    r"\bAKIA[0-9A-Z]{16}",
    r"\bgh[pousr]_[A-Za-z0-9]{36}",
    r"\bnpm_[A-Za-z0-9]{36}",
    "_auth[T]oken",
]


@pytest.mark.parametrize("parts", REGISTRIES, ids="-".join)
def test_no_registry_is_named(parts):
    """Where packages come from is for the machine that installs them to know."""
    assert lines_matching(re.compile(r"\b" + re.escape(".".join(parts)) + r"\b")) == []


@pytest.mark.parametrize("parts", MACHINE_PATHS, ids="-".join)
def test_no_path_of_somebodys_machine_is_named(parts):
    assert lines_matching(re.compile("/" + re.escape("/".join(parts)) + r"\b")) == []


@pytest.mark.parametrize("pattern", SECRETS)
def test_nothing_looks_like_a_secret(pattern):
    assert lines_matching(re.compile(pattern)) == []


def test_nothing_is_kept_that_git_is_told_to_ignore():
    assert tracked("--cached", "--ignored", "--exclude-standard") == []


@pytest.mark.parametrize("name", ["requirements.lock", "requirements-dev.lock"])
def test_every_locked_package_is_pinned_and_hashed(name):
    """Also in the pieces that only some platform or Python installs."""
    text = (ROOT / name).read_text()
    assert "://" not in text
    assert "--index" not in text

    entries = re.split(r"\n(?=[A-Za-z0-9])", text)
    assert len(entries) > 40
    for entry in entries:
        assert re.match(r"[A-Za-z0-9._-]+==\S+", entry), entry[:80]
        assert "--hash=sha256:" in entry, entry[:80]


def test_the_tests_run_the_versions_that_production_runs():
    runtime, development = (
        dict(re.findall(r"^([a-z0-9._-]+)==(\S+)", (ROOT / name).read_text(), re.MULTILINE))
        for name in ("requirements.lock", "requirements-dev.lock")
    )
    assert runtime == {name: development.get(name) for name in runtime}


def test_every_dependency_is_locked():
    """A dependency added to pyproject.toml without `dev.py lock` would be missing on the next machine."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    optional = project["project"]["optional-dependencies"]
    wanted_by = {
        "requirements.lock": sum(optional.values(), project["project"]["dependencies"]),
        "requirements-dev.lock": project["dependency-groups"]["dev"],
    }
    for name, wanted in wanted_by.items():
        locked = set(re.findall(r"^([a-z0-9._-]+)==", (ROOT / name).read_text(), re.MULTILINE))
        names = {re.split(r"[\[<>=!~; ]", line)[0].lower() for line in wanted}
        assert names - locked - {"milepost"} == set()


def test_npm_locks_hold_hashes_and_no_addresses():
    locks = [path for path in tracked() if path.name == "package-lock.json"]
    assert locks
    for lock in locks:
        for name, package in json.loads(lock.read_text())["packages"].items():
            assert "resolved" not in package, f"{lock}: {name}"
            assert name == "" or package["integrity"].startswith("sha512-"), f"{lock}: {name}"


def test_no_layer_is_optional_once_all_of_them_exist():
    """Brackets let a layer be missing while the house is built; after that they would hide a renamed one."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = next(contract["layers"] for contract in contracts if contract["type"] == "layers")
    names = re.findall(r"milepost[.\w]*", " ".join(layers))
    named = [ROOT / name.replace(".", "/") for name in names]
    if all(path.is_dir() or path.with_suffix(".py").is_file() for path in named):
        assert not [layer for layer in layers if "(" in layer], "take the brackets away in pyproject.toml"


def test_the_readme_shows_the_two_commands_first():
    readme = ROOT / "README.md"
    if readme in tracked():
        first_screen = "\n".join(readme.read_text().splitlines()[:60])
        assert "python3 dev.py run" in first_screen
        assert "python3 dev.py test" in first_screen
