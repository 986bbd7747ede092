"""Programs run as an ordinary user, without changing the machine's accounts.

Each call gets a private mount namespace in which /etc/passwd, /etc/group, /etc/subuid and /etc/subgid are bound over by
copies with one more line, and in which directories between / and the repository that only root may enter are replaced
by ones that show nothing but the repository. Outside nothing changes.
"""

from __future__ import annotations

import os
import shlex
import stat
import subprocess
from pathlib import Path

from harness.cli import Cli
from harness.images import REPOSITORY, copy, memory_directory, remove

UID = 65533
NAME = "pycontain-test"
#: First of the 65,536 subordinate ids that :class:`OrdinaryUser` has with ``subids=True``.
FIRST_SUBID = 1_700_000_000


class OrdinaryUser:
    """An account that exists only for the programs run through it; ``home`` and ``run`` lie on tmpfs.

    With ``subids`` it has a range of 65,536 subordinate ids, else none at all.
    """

    def __init__(self, *, subids: bool = False) -> None:
        self.uid = UID
        self.base = memory_directory("user-")
        self.home = self.base / "home"
        self.runtime_directory = self.base / "run"
        for directory in (self.home, self.runtime_directory):
            directory.mkdir(mode=0o700)
            os.chown(directory, UID, UID)
        self.subids = subids
        self._write_accounts()

    @property
    def env(self) -> dict[str, str]:
        """Return the environment of a login: nothing of the caller's but the search path."""
        return {
            "HOME": str(self.home),
            "USER": NAME,
            "LOGNAME": NAME,
            "PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
            "LANG": "C.UTF-8",
            "XDG_RUNTIME_DIR": str(self.runtime_directory),
        }

    def prefix(self) -> tuple[str, ...]:
        """Return the words to put before a command: they set up the mount namespace and become the user."""
        become = ["setpriv", f"--reuid={UID}", f"--regid={UID}", "--clear-groups", "--inh-caps=-all"]
        environment = ["env", "-i", *(f"{key}={value}" for key, value in self.env.items())]
        script = "\n".join(["set -e", *self._mounts(), f'exec {shlex.join(become + environment)} "$@"'])
        return ("unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh")

    def run(self, *args: str | os.PathLike[str], timeout: float = 60) -> subprocess.CompletedProcess[str]:
        """Run a program as the user, in the user's home, and return exit code and output."""
        command = [*self.prefix(), "sh", "-c", 'cd "$HOME" && exec "$@"', "sh", *(os.fspath(arg) for arg in args)]
        return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout)

    def cli(self) -> Cli:
        """Return the program as this user runs it, with a root directory of the user's own."""
        root = self.base / "pycontain"
        if not root.exists():
            root.mkdir(mode=0o755)
            os.chown(root, UID, UID)
        return Cli(root, prefix=self.prefix())

    def rootfs(self, source: Path) -> Path:
        """Return a copy of a root file system that belongs to the user."""
        target = self.home / "rootfs"
        return target if target.exists() else copy(source, target, owner=UID)

    def close(self) -> None:
        """Remove everything the user had."""
        remove(self.base)

    def _write_accounts(self) -> None:
        lines = {
            "passwd": f"{NAME}:x:{UID}:{UID}:made by a test:{self.home}:/bin/sh",
            "group": f"{NAME}:x:{UID}:",
            "subuid": f"{NAME}:{FIRST_SUBID}:65536" if self.subids else "",
            "subgid": f"{NAME}:{FIRST_SUBID}:65536" if self.subids else "",
        }
        for name, line in lines.items():
            original = Path("/etc", name)
            text = original.read_text() if original.exists() else ""
            (self.base / name).write_text(f"{text.rstrip()}\n{line}\n".lstrip())
            (self.base / name).chmod(0o644)

    def _mounts(self) -> list[str]:
        commands = [
            f"mount --bind {shlex.quote(str(self.base / name))} /etc/{name}"
            for name in ("passwd", "group", "subuid", "subgid")
            if Path("/etc", name).exists()
        ]
        closed = closed_ancestor(REPOSITORY)
        if closed is not None:
            # the repository must stay at its path: the virtual environment names it
            there = shlex.quote(str(REPOSITORY))
            window = shlex.quote(str(self.base / "window"))
            commands += [
                f"mkdir -p {window}",
                f"mount --bind {there} {window}",
                f"mount -t tmpfs -o mode=755 tmpfs {shlex.quote(str(closed))}",
                f"mkdir -p {there}",
                f"mount --move {window} {there}",
            ]
        return commands


def closed_ancestor(path: Path) -> Path | None:
    """Return the highest directory above ``path`` that other users may not enter."""
    for directory in reversed([path, *path.parents]):
        if not directory.stat().st_mode & stat.S_IXOTH:
            return directory
    return None
