"""The Debian package: built, looked at by lintian, installed, used, removed and purged, in a Debian of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from harness.distributions import REPOSITORY, DebianPackage
from harness.probe import requires

pytestmark = [
    pytest.mark.timeout(600),
    pytest.mark.background("debian_build"),
    requires("root", "program:dpkg-buildpackage", "program:dh_python3", "program:mmdebstrap"),
]

ENTER = Path(__file__).with_name("enter.sh")
PACKAGES = "usr/lib/python3/dist-packages"
#: What dpkg and the triggers of other packages keep of any package.
KEPT_BY_OTHERS = ("var/log/", "var/cache/", "var/lib/dpkg/")
#: What a run leaves: state in /run, which is in memory, and these, until they are purged.
DATA = {"var/lib/pycontain", "var/lib/pycontain/files", "var/lib/pycontain/overlay"}


class Machine:
    """A root directory that commands run in as if it were the machine's own."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def run(self, script: str) -> str:
        """Return what a shell script prints; every command of it must succeed."""
        command = ["sh", ENTER, self.root, "sh", "-euc", script]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL, cwd="/")
        assert done.returncode == 0, f"{script}\n{done.stdout}{done.stderr}"
        return done.stdout

    def files(self) -> set[str]:
        """Return the paths of everything but what dpkg keeps."""
        found = {
            os.path.relpath(os.path.join(directory, name), self.root)
            for directory, folders, files in os.walk(self.root)
            for name in (*folders, *files)
        }
        return {path for path in found if not path.startswith(KEPT_BY_OTHERS)}


@pytest.fixture
def machine(debian_root: Path, debian_package: DebianPackage) -> Machine:
    """Return a Debian with the package's file in /root."""
    shutil.copy(debian_package.package, debian_root / "root/pycontain.deb")
    return Machine(debian_root)


def _listed(package: DebianPackage) -> set[str]:
    listed = subprocess.run(["dpkg-deb", "--fsys-tarfile", package.package], check=True, capture_output=True)
    names = subprocess.run(["tar", "--list"], check=True, capture_output=True, input=listed.stdout).stdout
    return {name.removeprefix("./") for name in names.decode().split()}


def test_it_holds_both_programs_every_module_page_and_completion(debian_package: DebianPackage) -> None:
    listed = _listed(debian_package)
    sources = (REPOSITORY / "pycontain").rglob("*.py")
    expected = {f"{PACKAGES}/{path.relative_to(REPOSITORY)}" for path in sources}
    expected |= {f"usr/share/man/man{path.name[-1]}/{path.name}.gz" for path in (REPOSITORY / "man").glob("*.[1-8]")}
    expected |= {"usr/bin/pycontain", "usr/bin/pycontain-oci", "usr/share/doc/pycontain/copyright"}
    expected |= {f"{PACKAGES}/pycontain/modules.pack", f"{PACKAGES}/pycontain/reaper/pycontain-init"}
    expected |= {f"{PACKAGES}/cgroupspy/controllers.py"}
    expected |= {"usr/share/bash-completion/completions/pycontain", "usr/share/zsh/vendor-completions/_pycontain"}
    expected |= {"usr/share/fish/vendor_completions.d/pycontain.fish"}
    assert expected - listed == set()
    assert [name for name in listed if name.endswith((".pyc", ".c", ".h"))] == []


def test_every_file_that_is_bundled_has_its_licence_told(debian_package: DebianPackage) -> None:
    text = (REPOSITORY / "debian/copyright").read_text()
    bundled = (REPOSITORY / "debian/bundled/requirements.txt").read_text().splitlines()
    names = [line.partition("==")[0] for line in bundled if not line.startswith("#")]
    public = {
        name.split("/")[4]
        for name in _listed(debian_package)
        if name.startswith(f"{PACKAGES}/") and name.count("/") == 5
    }
    assert {name for name in public if "." not in name} == {"pycontain", *names}
    for name in names:
        assert f"Files: debian/bundled/{name}-*\nCopyright: " in text
    assert "python-prctl (Debian: python3-prctl), which is\n GPL-3.0-or-later" in text


@requires("program:lintian")
def test_lintian_finds_nothing(debian_package: DebianPackage) -> None:
    command = ["lintian", "--allow-root", "--display-info", "--fail-on=error,warning,info", debian_package.changes]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


def test_installed_it_runs_containers(machine: Machine) -> None:
    machine.run("dpkg --install /root/pycontain.deb")
    assert machine.run("pycontain run --rm @host -- id -u") == "0\n"
    shown = machine.run("man --where pycontain pycontain-run pycontain-oci; pycontain-oci --version; pycontain version")
    assert shown.splitlines()[:4] == [
        "/usr/share/man/man1/pycontain.1.gz",
        "/usr/share/man/man1/pycontain-run.1.gz",
        "/usr/share/man/man8/pycontain-oci.8.gz",
        "runc version 0.1.0+pycontain",
    ]
    # what is bundled, what comes from Debian, and that nothing else is needed
    assert "python: 3." in shown
    assert "modules.pack" not in machine.run("pycontain doctor || true")
    machine.run(
        "pycontain run --detach --name box @host -- sleep 100; pycontain update --memory 64m box;"
        "pycontain stats --no-stream box; pycontain exec box true; pycontain rm --force box"
    )
    library = "import pycontain, cgroupspy.controllers; print(pycontain.run('@host', ['echo', 'x']).stdout)"
    assert machine.run(f'python3 -W error -c "{library}"') == "b'x\\n'\n"


def test_it_is_removed_without_a_trace(machine: Machine) -> None:
    before = machine.files()
    machine.run("dpkg --install /root/pycontain.deb; pycontain run --rm @host -- true")
    assert "usr/bin/pycontain" in machine.files()
    machine.run("dpkg --remove pycontain")
    assert machine.files() - before == DATA
    machine.run("dpkg --purge pycontain")
    assert machine.files() == before


def test_purging_empties_memory_of_what_it_made_there(machine: Machine) -> None:
    left = machine.run(
        "dpkg --install /root/pycontain.deb >/dev/null; pycontain run --rm @host -- true;"
        "pycontain-oci list >/dev/null; mkdir -p /run/pycontain-oci/.cache/seccomp; ls -d /run/pycontain;"
        "dpkg --purge pycontain >/dev/null; ls -d /run/pycontain* 2>/dev/null || true"
    )
    assert left == "/run/pycontain\n"


def test_purging_keeps_volumes_and_containers(machine: Machine) -> None:
    kept = "/run/pycontain/containers/0123 /run/pycontain/userns/100000 /var/lib/pycontain/overlay/0123/upper"
    machine.run(
        f"dpkg --install /root/pycontain.deb; pycontain volume create empty; mkdir -p {kept};"
        f"dpkg --purge pycontain; ls -d {kept}"
    )
    assert (machine.root / "var/lib/pycontain/volumes/empty/_data").is_dir()
