"""An OCI runtime as engines drive it, and bundles to give it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from harness.cli import describe
from pycontain.cgroups.cgroup import locate
from pycontain.cgroups.host import probe_host, usable

#: The launcher beside the interpreter that runs the tests.
PROGRAM = Path(sys.executable).parent / "pycontain-oci"

_NOSUID = ["nosuid", "noexec", "nodev"]


def config(rootfs: Path, *args: str) -> dict[str, Any]:
    """Return a small configuration with the file systems that every container has; tests change it as they like."""
    return {
        "ociVersion": "1.2.0",
        "process": {
            "user": {"uid": 0, "gid": 0},
            "args": list(args),
            "env": ["PATH=/usr/bin:/bin:/sbin"],
            "cwd": "/",
            "capabilities": {},
        },
        "root": {"path": str(rootfs), "readonly": True},
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc", "options": _NOSUID},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755", "size=64k"]},
            {
                "destination": "/dev/pts",
                "type": "devpts",
                "source": "devpts",
                "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"],
            },
            {"destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "nodev"]},
        ],
        "linux": {"namespaces": [{"type": kind} for kind in ("pid", "ipc", "uts", "mount", "network")]},
    }


def _names(directory: str) -> list[str]:
    """Return what is in a directory, which the last container of any test takes with it."""
    try:
        return os.listdir(directory)
    except FileNotFoundError:
        return []


class Oci:
    """``pycontain-oci --root ROOT …``; every bundle lies below ``place``."""

    def __init__(self, root: Path, place: Path, rootfs: Path, program: tuple[str, ...] = (str(PROGRAM),)) -> None:
        self.root = root
        self.place = place
        self.rootfs = rootfs
        self.program = program
        self._configurations = 0

    def config(self, *args: str) -> dict[str, Any]:
        """Return a configuration that runs ``args``, in a cgroup that no other test's container has."""
        document = config(self.rootfs, *args)
        self._configurations += 1
        document["linux"]["cgroupsPath"] = f"pycontain-oci/{self.place.name}-{self._configurations}"
        return document

    def bundle(self, document: Mapping[str, Any] | str, name: str = "bundle") -> Path:
        """Write a bundle and return its directory."""
        directory = self.place / name
        directory.mkdir(exist_ok=True)
        text = document if isinstance(document, str) else json.dumps(document)
        (directory / "config.json").write_text(text)
        return directory

    def argv(self, *args: str | os.PathLike[str]) -> list[str]:
        """Return the whole command line."""
        return [*self.program, "--root", str(self.root), *map(os.fspath, args)]

    def run(
        self, *args: str | os.PathLike[str], timeout: float = 60, **options: Any
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end. A container that it leaves behind may hold the pipes: output goes to files."""
        with (self.place / "out").open("w+") as out, (self.place / "err").open("w+") as err:
            options = {"stdin": subprocess.DEVNULL, "start_new_session": True, **options}
            process = subprocess.Popen(self.argv(*args), stdout=out, stderr=err, **options)
            try:
                process.wait(timeout)
            except BaseException:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                raise
        texts = [(self.place / name).read_text(errors="replace") for name in ("out", "err")]
        return subprocess.CompletedProcess(process.args, process.returncode, *texts)

    def ok(self, *args: str | os.PathLike[str], **options: Any) -> str:
        """Run, expect exit code 0, return standard output."""
        done = self.run(*args, **options)
        assert done.returncode == 0, describe(done)
        return done.stdout

    def fails(self, *args: str | os.PathLike[str], code: int = 1, **options: Any) -> str:
        """Run, expect this exit code and no traceback, return standard error."""
        done = self.run(*args, **options)
        assert done.returncode == code, f"{describe(done)}\nexpected exit code {code}"
        assert "Traceback" not in done.stderr, describe(done)
        return done.stderr

    def runs(self, document: Mapping[str, Any], name: str = "c") -> str:
        """Run a container in the foreground, expect exit code 0, return its output."""
        return self.ok("run", "--bundle", self.bundle(document, name), name)

    def refuses(self, document: Mapping[str, Any] | str) -> str:
        """Expect that a configuration cannot be run and that nothing is left; return standard error."""
        said = self.fails("run", "--bundle", self.bundle(document, "refused"), "refused")
        assert not (self.root / "refused").exists()
        return said

    def state(self, name: str) -> dict[str, Any]:
        """Return the state of a container."""
        document: dict[str, Any] = json.loads(self.ok("state", name))
        return document

    def wait(self, name: str, status: str, within: float = 10) -> None:
        """Wait until a container has a status."""
        deadline = time.monotonic() + within
        while (found := self.state(name)["status"]) != status:
            assert time.monotonic() < deadline, f"{name} is {found}, not {status}"
            time.sleep(0.02)

    def remove_all(self) -> None:
        """Remove every container."""
        for name in sorted(os.listdir(self.root)) if self.root.is_dir() else ():
            if not name.startswith("."):
                self.run("delete", "--force", name)

    def left(self) -> list[str]:
        """Return the containers that have a directory."""
        return [name for name in os.listdir(self.root) if not name.startswith(".")] if self.root.is_dir() else []

    def traces(self, *, processes: bool = True) -> list[str]:
        """Return everything that there is of containers with configurations of :meth:`config`: nothing in the end.

        ``processes``: those too, which takes milliseconds.
        """
        places = locate(usable(probe_host()), "pycontain-oci").directories
        cgroups = [f"{place}/{name}" for place in places for name in _names(place) if name.startswith(self.place.name)]
        return [f"{self.root}/{name}" for name in self.left()] + cgroups + list(self._processes() if processes else ())

    def _processes(self) -> Iterator[str]:
        """Yield the processes that work for this root directory or are in a cgroup of its containers."""
        for directory in Path("/proc").glob("[0-9]*"):
            try:
                command = (directory / "cmdline").read_text(errors="replace").split("\0")
                cgroups = (directory / "cgroup").read_text()
                state = (directory / "stat").read_text().rpartition(")")[2].split()[0]
            except OSError:
                continue  # it has ended
            if state in "ZX":
                continue  # it has ended too; its parent has not noticed yet
            if str(self.root) in command or f"/{self.place.name}" in cgroups:
                yield f"pid {directory.name}: {' '.join(command)}"
