"""dev.py test: the proxies, found or fetched from Debian without installing anything, or missed in a sentence."""

import subprocess

import pytest

from devtools import apt, console, proxies

from .test_dev import executable


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A PATH on which nothing stands but what the test puts there; `bin` is what .venv/bin is."""
    for name in ("path", "bin", "debian"):
        (tmp_path / name).mkdir()
    for name in ("sh", "env"):
        (tmp_path / "path" / name).symlink_to(f"/bin/{name}")
    monkeypatch.setenv("PATH", str(tmp_path / "path"))
    monkeypatch.setattr(proxies, "BIN", tmp_path / "bin")
    monkeypatch.setattr(proxies, "UNPACKED", tmp_path / "debian")
    monkeypatch.setattr(proxies, "FOLDERS", [])
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    return tmp_path


def debian(machine, *, lists="true"):
    """Have an apt-get that knows haproxy and a library it needs, and a dpkg-deb that unpacks them."""
    executable(
        machine / "path" / "apt-get",
        f'echo "$*" >> {machine}/asked\n'
        f'case "$1" in\n'
        f"  update) > {machine}/lists;;\n"
        f"  install) {lists} || {{ echo 'E: Unable to locate package'; exit 100; }}\n"
        '    echo "Inst liblua (5.3 Debian [amd64])"\n'
        '    echo "Inst libhere [1.0] (1.1 Debian [amd64])"\n'
        '    echo "Inst haproxy (2.6 Debian [amd64])";;\n'
        "  download) shift 2; for name; do > $name.deb; done;;\n"
        "esac",
    )
    executable(
        machine / "path" / "dpkg-deb",
        'root=$3; name=${2##*/}\n/bin/mkdir -p "$root/usr/sbin" "$root/usr/lib/x86_64-linux-gnu"\n'
        'echo "$name" >> "$root/unpacked"\n'
        '[ "$name" = haproxy.deb ] || exit 0\n'
        "printf '#!/bin/sh\\necho HAProxy 2.6 with $LD_LIBRARY_PATH\\n' > \"$root/usr/sbin/haproxy\"\n"
        '/bin/chmod 755 "$root/usr/sbin/haproxy"',
    )


def everything_but_haproxy(machine):
    for name in ("nginx", "caddy"):
        executable(machine / "path" / name, f"echo {name} 1")


def test_proxies_that_are_here_are_taken_and_nothing_is_asked(machine, capfd):
    everything_but_haproxy(machine)
    executable(machine / "path" / "haproxy", "echo haproxy 1")
    executable(machine / "path" / "apt-get", f"> {machine}/asked")

    found = proxies.for_tests()

    assert found == {
        f"MILEPOST_TEST_{name.upper()}": str(machine / "path" / name)
        for name in ("nginx", "haproxy", "caddy")
    }
    assert not (machine / "asked").exists()
    assert capfd.readouterr().err == ""


def test_what_is_missing_is_unpacked_with_its_libraries_and_not_installed(machine, capfd):
    """An installed package would start its service and take port 80; it would need root as well."""
    everything_but_haproxy(machine)
    debian(machine)

    found = proxies.for_tests()

    program = found["MILEPOST_TEST_HAPROXY"]
    assert program == str(machine / "bin" / "haproxy")
    said = subprocess.run([program], capture_output=True, text=True, check=True).stdout
    assert said == f"HAProxy 2.6 with {machine}/debian/usr/lib/x86_64-linux-gnu\n"
    assert (machine / "debian" / "unpacked").read_text().split() == ["haproxy.deb", "liblua.deb"]
    asked = (machine / "asked").read_text().splitlines()
    assert all("--simulate" in line for line in asked if line.startswith("install"))
    assert "haproxy" in capfd.readouterr().err
    assert proxies.for_tests() == found
    assert capfd.readouterr().err == ""


def test_lists_that_were_never_fetched_are_fetched_if_we_may(machine, monkeypatch):
    everything_but_haproxy(machine)
    debian(machine, lists=f"[ -e {machine}/lists ]")
    monkeypatch.setattr(apt, "privilege", list)

    assert "MILEPOST_TEST_HAPROXY" in proxies.for_tests()


def test_a_proxy_that_cannot_be_had_is_a_sentence_and_stops_nothing_else(machine, capfd):
    everything_but_haproxy(machine)

    found = proxies.for_tests()

    assert found.keys() == {"MILEPOST_TEST_NGINX", "MILEPOST_TEST_CADDY"}
    said = capfd.readouterr().err
    assert "There is no haproxy here, and the tests of proxies fail without." in said
    assert "sudo apt-get install haproxy" in said
    assert "there is no apt-get on this machine" in said


def test_apt_without_lists_and_without_root_says_what_apt_said(machine, monkeypatch):
    debian(machine, lists="false")
    monkeypatch.setattr(apt, "privilege", lambda: None)

    with pytest.raises(console.Stop, match=r"could not fetch haproxy:\nE: Unable to locate package"):
        apt.unpack("haproxy", folder=machine / "debian", purpose="a proxy")


def test_on_a_mac_brew_brings_them(machine, monkeypatch):
    everything_but_haproxy(machine)
    monkeypatch.setattr("sys.platform", "darwin")
    haproxy = machine / "path" / "haproxy"
    executable(
        machine / "path" / "brew",
        f'echo "$*" > {machine}/asked; printf "#!/bin/sh\\necho 3\\n" > {haproxy}; /bin/chmod 755 {haproxy}',
    )

    assert proxies.for_tests()["MILEPOST_TEST_HAPROXY"] == str(haproxy)
    assert (machine / "asked").read_text() == "install haproxy\n"
