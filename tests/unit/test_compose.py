"""The production shape: what docker-compose.yml, the Dockerfile and the proxy's configuration promise."""

import importlib.metadata
import json
import re
import subprocess
import sys
import tomllib
from functools import cache

import pytest
from milepost_api.settings import ApiSettings
from milepost_worker.leaving import HARD_DEADLINE_SECONDS
from milepost_worker.settings import WorkerSettings

from milepost.cli.main import cli
from milepost.errors import SettingsError
from milepost.settings import PREFIX, Settings, load
from tests.support.compose import COMPOSE, ROOT, MissingVariable, read, said_twice, seconds, services

SECRETS = {"MILEPOST_API_KEYS": "key-one,key-two", "POSTGRES_PASSWORD": "s3cret"}
SERVICES = sorted(read()["services"])
MILEPOST = ("api", "worker", "migrate")
SCALED = ("api", "worker")
SETTINGS_OF: dict[str, type[Settings]] = {
    "api": ApiSettings,
    "worker": WorkerSettings,
    "migrate": ApiSettings,
}
DOCKERFILE = (ROOT / "Dockerfile").read_text()
CADDYFILE = (ROOT / "deploy" / "Caddyfile").read_text()


def service(name):
    return services(SECRETS)[name]


def variables(model):
    return {f"{PREFIX}{name.upper()}" for name in model.model_fields}


@pytest.mark.parametrize("path", [COMPOSE, ROOT / "deploy" / "tls.yml"], ids=lambda path: path.name)
def test_the_file_is_valid(path):
    """Compose's own schema accepts it."""
    checker = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", path]
    done = subprocess.run(checker, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("path", [COMPOSE, ROOT / "deploy" / "tls.yml"], ids=lambda path: path.name)
def test_nothing_is_said_twice(path):
    """Compose refuses a file with a key that stands twice in one place; other readers take either."""
    assert said_twice(path) == []


@pytest.mark.parametrize("missing", SECRETS)
def test_no_secret_is_in_the_file_and_none_is_optional(missing):
    """Without a secret nothing starts, and the sentence says which one to set where."""
    given = {name: value for name, value in SECRETS.items() if name != missing}
    with pytest.raises(MissingVariable, match=rf"^{missing}: Set {missing} in \.env: .{{20}}"):
        services(given)


def test_secrets_reach_only_those_who_need_them():
    """The API has the keys and the database, the worker neither, postgres its own password only."""
    holders = {
        secret: sorted(name for name in SERVICES if secret in json.dumps(service(name)))
        for secret in SECRETS.values()
    }
    assert holders == {"key-one,key-two": ["api"], "s3cret": ["api", "migrate", "postgres"]}


@pytest.mark.parametrize("name", SERVICES)
def test_no_container_has_a_name_of_its_own(name):
    """Two containers cannot have the same name, so a fixed one forbids a second."""
    assert not {"container_name", "hostname", "mac_address"} & service(name).keys()


@pytest.mark.parametrize("name", SCALED)
def test_api_and_worker_can_be_scaled(name):
    """What there is several times claims nothing that there is once: no port, no volume to write."""
    scaled = service(name)
    assert "ports" not in scaled
    assert scaled.get("network_mode") is None
    assert all(volume.endswith(":ro") for volume in scaled.get("volumes", []))


def test_the_proxy_alone_publishes_a_port_and_only_to_this_machine():
    """Without TLS keys travel in the clear, so reaching further is a decision and not the default."""
    published = {name: service(name)["ports"] for name in SERVICES if "ports" in service(name)}
    assert published == {"proxy": ["127.0.0.1:8000:8000"]}


def test_the_stores_are_reached_by_nobody_but_milepost():
    """PostgreSQL and Redis are on a network that leads nowhere, together with those who use them."""
    assert read()["networks"]["stores"] == {"internal": True}
    inside = {name for name in SERVICES if "stores" in service(name)["networks"]}
    assert inside == {"postgres", "redis", *MILEPOST}
    assert service("postgres")["networks"] == service("redis")["networks"] == ["stores"]


@pytest.mark.parametrize("name", SERVICES)
def test_every_container_has_the_least_it_can_work_with(name):
    """A container that was broken into can neither change its programs nor become somebody else."""
    hardened = service(name)
    assert hardened["read_only"] is True
    assert hardened["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in hardened["security_opt"]
    assert not hardened.get("privileged")


@pytest.mark.parametrize("name", sorted(set(SERVICES) - {"migrate"}))
def test_every_service_that_stays_can_say_whether_it_is_well(name):
    """A health check is a program run in the container, with a limit of time."""
    check = service(name)["healthcheck"]
    assert check["test"][0] in {"CMD", "CMD-SHELL"}
    assert seconds(check["timeout"]) <= seconds(check["interval"])


def test_everybody_waits_for_what_it_needs():
    """The order of the start is said in conditions, not hoped for."""
    wanted = {
        name: {need: how["condition"] for need, how in service(name).get("depends_on", {}).items()}
        for name in SERVICES
    }
    assert wanted == {
        "postgres": {},
        "redis": {},
        "migrate": {"postgres": "service_healthy"},
        "api": {"migrate": "service_completed_successfully", "redis": "service_healthy"},
        "worker": {"redis": "service_healthy"},
        "proxy": {"api": "service_healthy"},
    }


@pytest.mark.parametrize("name", MILEPOST)
def test_every_setting_is_a_real_one(name):
    """A setting with a slip in its name would be ignored in silence."""
    given = {key for key in read()["services"][name]["environment"] if key.startswith(PREFIX)}
    assert given <= variables(SETTINGS_OF[name])


# What cannot be set from outside, each for its reason.
LEFT_OUT = {
    "api": {
        "MILEPOST_DATA_DIR",
        "MILEPOST_API_KEYS_FILE",
        "MILEPOST_TOKEN_SECRET_FILE",
    },  # records are in PostgreSQL, keys and secrets in the environment
    "worker": set(),
}


@pytest.mark.parametrize("name", SCALED)
def test_every_setting_can_be_set_from_outside(name):
    """Whoever tunes a deployment edits .env, never this file."""
    given = {key for key in read()["services"][name]["environment"] if key.startswith(PREFIX)}
    assert variables(SETTINGS_OF[name]) - given == LEFT_OUT[name]


@pytest.mark.parametrize("name", MILEPOST)
def test_the_processes_accept_their_settings(name, monkeypatch):
    """What the file sets is what the processes take, the address that needs keys included."""
    for key, value in service(name)["environment"].items():
        monkeypatch.setenv(key, value)
    load(SETTINGS_OF[name])


def test_the_api_is_closed_by_default(monkeypatch):
    """The address of the container is open to others, so without keys the API refuses to start."""
    for key, value in service("api")["environment"].items():
        monkeypatch.setenv(key, value)
    monkeypatch.delenv("MILEPOST_API_KEYS")
    with pytest.raises(SettingsError, match="no API key is set"):
        load(ApiSettings)


@pytest.mark.parametrize("name", MILEPOST)
def test_every_command_is_one_of_the_command_line(name):
    """The image's entry point is `milepost`; what follows must be a command of it."""
    assert service(name)["command"][0] in cli.commands


def test_nobody_is_killed_while_it_still_finishes():
    """Docker waits longer for a process than the process waits for its jobs and requests."""
    worker, api = WorkerSettings(), ApiSettings()
    longest = worker.drain_seconds + worker.stop_grace_seconds + HARD_DEADLINE_SECONDS
    assert seconds(service("worker")["stop_grace_period"]) > longest
    assert seconds(service("api")["stop_grace_period"]) > api.shutdown_grace_seconds
    waits = re.search(r"grace_period (\S+)", CADDYFILE)
    assert waits
    assert seconds(service("proxy")["stop_grace_period"]) > seconds(waits[1])


def test_redis_neither_forgets_nor_evicts():
    """Jobs live in Redis: what it accepted survives its restart, and when it is full it says so."""
    arguments = service("redis")["command"]
    options = dict(zip(arguments[1::2], arguments[2::2], strict=True))
    assert options["--appendonly"] == "yes"
    assert options["--maxmemory-policy"] == "noeviction"
    assert int(options["--maxmemory"].removesuffix("gb")) >= 1


def test_what_must_last_is_in_named_volumes():
    """A container may be thrown away at any time; its data may not."""
    kept = {name: service(name)["volumes"] for name in ("postgres", "redis")}
    assert kept == {"postgres": ["postgres-data:/var/lib/postgresql"], "redis": ["redis-data:/data"]}
    assert {"postgres-data", "redis-data"} <= read()["volumes"].keys()


def test_the_proxy_asks_for_the_api_by_its_name():
    """Every address that the service has at the moment is used."""
    port = service("api")["environment"]["MILEPOST_PORT"]
    assert "dynamic a {" in CADDYFILE
    assert f"name {{$API_HOST:{SCALED[0]}}}" in CADDYFILE
    assert f"port {{$API_PORT:{port}}}" in CADDYFILE
    kept = re.search(r"request_buffers (\d+)MiB", CADDYFILE)
    assert kept
    assert int(kept[1]) << 20 > ApiSettings().body_limit_bytes
    assert service("proxy")["ports"][0].endswith(":8000")
    assert ":8000 " in CADDYFILE


def test_the_example_of_settings_names_real_ones():
    """Every line of .env.example is something that the file uses; the required ones are to be filled in."""
    lines = re.findall(r"^(#?)([A-Z_]+)=(.*)$", (ROOT / ".env.example").read_text(), re.MULTILINE)
    used = COMPOSE.read_text()
    assert all(
        f"${{{name}" in used or f"\n  {name}:" in used or f"  {name}:\n" in used for _, name, _ in lines
    )
    assert [name for mark, name, value in lines if not mark and not value] == list(SECRETS)


# --- the image -----------------------------------------------------------------------------------


@cache
def instructions():
    """Return the Dockerfile as (instruction, arguments), continued lines joined and comments dropped."""
    lines = re.sub(r"\\\n", " ", re.sub(r"^#.*\n", "", DOCKERFILE, flags=re.MULTILINE)).splitlines()
    return [tuple(line.split(None, 1)) for line in lines if line.strip()]


def arguments(name):
    return [rest for instruction, rest in instructions() if instruction == name]


def test_the_image_runs_milepost_as_nobody_in_particular():
    """One program, without root and without a shell between it and its signals."""
    assert arguments("USER") == ["10001:10001"]
    assert [json.loads(entry) for entry in arguments("ENTRYPOINT")] == [["milepost"]]
    assert [json.loads(entry)[0] in cli.commands for entry in arguments("CMD")] == [True]
    assert arguments("STOPSIGNAL") == ["SIGTERM"]
    [check] = arguments("HEALTHCHECK")
    assert json.loads(check.partition("CMD ")[2])[0] == "python"


def test_the_images_are_named_plainly():
    """No registry is named: which mirror to pull from is for the machine to know."""
    names = [entry.split()[0] for entry in arguments("FROM")] + [
        found["image"] for found in services(SECRETS).values()
    ]
    assert names
    assert not [name for name in names if "." in name.split("/")[0] and "/" in name]


def test_the_image_has_a_python_that_the_packages_support():
    """The locked packages have wheels for what the project says it runs on."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    versions = {entry.split()[0] for entry in arguments("FROM")}
    [minor] = {version.removeprefix("python:").removesuffix("-slim") for version in versions}
    assert f"Programming Language :: Python :: {minor}" in project["classifiers"]


def test_everything_that_is_installed_has_a_known_hash():
    """Packages come from the lock files with their hashes, or out of the image itself."""
    installs = [run for run in " && ".join(arguments("RUN")).split("&&") if "pip install" in run]
    assert len(installs) == 3
    assert all(
        "--require-hashes" in run or "--no-index --no-deps" in run or "--no-deps --no-index" in run
        for run in installs
    )


def test_the_build_backend_is_complete_and_locked(tmp_path):
    """The lines taken from the development lock are hatchling and all it needs, each with hashes."""
    command = next(run for run in arguments("RUN") if "build.lock" in run).split("&&")[0]
    subprocess.run(["sh", "-c", command], cwd=_copy_of_the_lock(tmp_path), check=True)
    taken = set(re.findall(r"^([a-z-]+)==", (tmp_path / "build.lock").read_text(), re.MULTILINE))
    assert taken == _closure("hatchling")
    assert (tmp_path / "build.lock").read_text().count("--hash=sha256:") >= len(taken)


def _copy_of_the_lock(folder):
    (folder / "requirements-dev.lock").write_text((ROOT / "requirements-dev.lock").read_text())
    return folder


def _closure(name):
    needed = importlib.metadata.requires(name) or []
    names = {re.split(r"[^\w-]", one, maxsplit=1)[0].lower() for one in needed if ";" not in one}
    return {name}.union(*(_closure(one) for one in names))


def test_every_file_that_is_copied_exists_and_is_let_through():
    """.dockerignore lets in what the Dockerfile copies, and nothing else."""
    copied = {source for line in arguments("COPY") if "--from" not in line for source in line.split()[:-1]}
    let_through = {
        line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")
    }
    assert copied == let_through
    assert not [source for source in copied if not (ROOT / source).exists()]
