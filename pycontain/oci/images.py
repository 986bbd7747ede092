"""What ``checkpoint`` and ``restore`` share: the directories of a checkpoint, and the options that both have."""

from __future__ import annotations

import os
import re
from types import TracebackType
from typing import Any

from pycontain.errors import HostError, PycontainError, UsageError
from pycontain.kernel.constants import CLONE_NEWNET
from pycontain.oci.criu import CGROUP_MODES, CHECK, NETWORK_LOCKS, Criu, Refused, find
from pycontain.oci.features import CRIU_CONFIGURATION
from pycontain.oci.invocation import Invocation
from pycontain.oci.words import Told
from pycontain.runtime import probe
from pycontain.spec.runtime import Spec

DEFAULT = "checkpoint"
#: What the container's first descriptors were, as a JSON array; the name and form are runc's.
DESCRIPTORS = "descriptors.json"
INVENTORY = "inventory.img"
CONFIG_FILES = ("/etc/criu/pycontain.conf", "/etc/criu/runc.conf")
LOG_LEVEL = 4
#: A masked file in a checkpoint, whatever its path.
MASK = "/dev/null"
NETWORK_KEY, PID_KEY = "extRootNetNS", "extRootPidNS"
_SHOWN_LINES = 8


class Images:
    """A checkpoint's directory and that of CRIU's log, both open; use as a context manager."""

    def __init__(self, told: Told, log_name: str, *, make: bool) -> None:
        self.directory = os.path.abspath(told.text("image-path") or DEFAULT)
        self.work = os.path.abspath(told.text("work-path")) if told.text("work-path") else ""
        self._log_name = log_name
        self._make = make
        self._fds: list[int] = []

    def __enter__(self) -> Images:
        self.open()
        return self

    def open(self) -> None:
        """Open the directories, again where they are: CRIU mounts in them, which a change of the namespace forbids.

        Raises:
            UsageError: one cannot be had.
        """
        self.__exit__(None, None, None)
        try:
            self._open("--image-path", self.directory, make=self._make)
            if self.work:
                self._open("--work-path", self.work, make=True)
        except BaseException:
            self.__exit__(None, None, None)
            raise

    def _open(self, option: str, path: str, *, make: bool) -> None:
        try:
            if make:
                os.makedirs(path, 0o700, exist_ok=True)
            self._fds.append(os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
        except OSError as error:
            raise UsageError(f"{option}: {path}: {(error.strerror or '').lower()}") from error

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        for fd in self._fds:
            os.close(fd)
        self._fds.clear()

    def admit(self, gid: int) -> None:
        """Let a group read the images: CRIU reads some as root of the container, which is nobody here.

        Raises:
            UsageError: they belong to somebody else.
        """
        try:
            for path in (
                self.directory,
                *(entry.path for entry in os.scandir(self.directory) if entry.is_file(follow_symlinks=False)),
            ):
                mode = os.stat(path).st_mode
                os.chown(path, -1, gid)
                os.chmod(path, mode & 0o7777 | (0o050 if os.path.isdir(path) else 0o040))
        except OSError as error:
            raise UsageError(f"--image-path: {error.filename}: {(error.strerror or '').lower()}") from error

    @property
    def log_path(self) -> str:
        return f"{self.work or self.directory}/{self._log_name}"

    def options(self, told: Told, spec: Spec) -> dict[str, Any]:
        """Return what CRIU is asked for in either direction.

        Raises:
            UsageError: a value makes no sense.
        """
        options: dict[str, Any] = {
            "images_dir_fd": self._fds[0],
            "log_level": LOG_LEVEL,
            "log_file": self._log_name,
            "notify_scripts": True,
            "manage_cgroups": True,
            "manage_cgroups_mode": _choice(told, "manage-cgroups-mode", CGROUP_MODES, "soft"),
            # devices and addresses are made by whoever makes the network namespace
            "empty_ns": _empty_namespaces(told),
            "orphan_pts_master": True,
            **{
                name.replace("-", "_"): told.flag(name)
                for name in ("tcp-established", "ext-unix-sk", "shell-job", "file-locks", "auto-dedup", "lazy-pages")
            },
        }
        if self.work:
            options["work_dir_fd"] = self._fds[1]
        if told.text("network-lock"):
            options["network_lock"] = _choice(told, "network-lock", NETWORK_LOCKS, "")
        file = _configuration(spec)
        if file:
            options["config_file"] = file
        return options

    def failure(self, invocation: Invocation, verb: str, refused: Refused) -> PycontainError:
        """Return the error to report where CRIU failed; more of what its log says is written as warnings."""
        lines = _errors_in(self.log_path)
        for line in lines[:_SHOWN_LINES]:
            invocation.log.warning(f"criu: {line}")
        reason = str(refused).strip() or (lines[0] if lines else "")
        if not reason and refused.number:
            reason = os.strerror(refused.number).lower()
        # asking takes CRIU a while; an error about the container is none of the kernel
        doubtful = not lines or any("kerndat" in line for line in lines)
        unfit = doubtful and not self._is_fit(invocation)
        cure = "; this kernel lacks what CRIU needs, see criu check" if unfit else ""
        where = f" (log: {self.log_path})" if os.path.exists(self.log_path) else ""
        return HostError(f"criu cannot {verb} the container: {reason or 'no reason told'}{cure}{where}")

    def _is_fit(self, invocation: Invocation) -> bool:
        """Whether CRIU finds in this kernel what it needs."""
        with Criu(invocation.criu) as criu:
            try:
                criu.ask(CHECK, opts={"images_dir_fd": self._fds[-1], "log_file": "check.log"})
            except Refused:
                return False
        return True


def _errors_in(path: str) -> list[str]:
    """Return the lines about errors in a log of CRIU's, without their times."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            lines = [re.sub(r"^\([\d.]+\)\s*", "", line.strip()) for line in file if "Error (" in line]
    except OSError:
        return []
    return list(dict.fromkeys(lines))


def _choice(told: Told, option: str, choices: dict[str, int], default: str) -> int:
    text = told.text(option) or default
    if text not in choices:
        raise UsageError(f"--{option}: {text!r} is none of {', '.join(choices)}")
    return choices[text]


def _empty_namespaces(told: Told) -> int:
    for name in told.all("empty-ns"):
        if name != "network":
            raise UsageError(f"--empty-ns: namespace {name!r} is not supported, only network")
    return CLONE_NEWNET


def _configuration(spec: Spec) -> str:
    """Return the file with the administrator's settings for CRIU, "" for none; an annotation may name another."""
    if CRIU_CONFIGURATION in spec.annotations:
        return spec.annotations[CRIU_CONFIGURATION]
    return next((path for path in CONFIG_FILES if os.path.exists(path)), "")


def require(invocation: Invocation) -> None:
    """Raise HostError unless CRIU is there and this process may do what it does."""
    find(invocation.criu)
    if not probe.is_privileged():
        raise HostError("checkpoint and restore need root of the host", requirement="root")
