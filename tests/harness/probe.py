"""What this host can do, by name: ``requires("root", "cgroup2:memory")`` on a test skips it with what was missing.

========================  ==============================================================================
``root``                  effective uid 0 in the initial user namespace
``user``                  tests may run programs as an ordinary user (see :mod:`harness.ordinary_user`)
``program:NAME``          NAME is in PATH
``kernel:6.3``            this kernel or a later one
``cap:SYS_RESOURCE``      this process has the capability, effective
``userns``                user namespaces can be made here
``fs:NAME``               the kernel knows the file system
``cgroup2``               a cgroup2 hierarchy is mounted (``cgroup2:memory``: and offers the controller)
``cgroup1:memory``        the controller is mounted as version 1
``cgroup:memory``         the controller is there in either version
``pure-cgroup2``          /sys/fs/cgroup itself is cgroup2
``hybrid``                version 1 controllers beside a cgroup2 hierarchy
``systemd``               PID 1 is systemd
``apparmor``              AppArmor is active
``criu``                  CRIU is installed and finds what it needs in this kernel
``loop``                  a loop device can be had
``shifted-host``          the owners of the host's root can be shifted: not on an overlay, in a container
``disk``                  a test guest's ext4 disk (``PYCONTAIN_TEST_DISK``)
========================  ==============================================================================
"""

from __future__ import annotations

import functools
import os
import platform
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from pycontain.engine.filesystems import cannot_shift
from pycontain.runtime.probe import kernel_version

CAPABILITY_NUMBERS = {"SYS_ADMIN": 21, "SYS_RESOURCE": 24, "MKNOD": 27, "NET_ADMIN": 12, "SYS_NICE": 23}


def requires(*names: str) -> pytest.MarkDecorator:
    """Return a mark that skips a test where one of the named abilities is missing, and says which."""
    for name in names:
        if name.partition(":")[0] not in PROBES:
            raise ValueError(f"no probe for {name!r}; known: {', '.join(sorted(PROBES))}")
    return pytest.mark.requires(*names)


@functools.cache
def has(name: str) -> bool:
    """Return whether the host has the named ability."""
    kind, _, value = name.partition(":")
    return PROBES[kind](value)


def cgroup2_mount() -> Path | None:
    """Return where the cgroup2 hierarchy is mounted."""
    return _mounted("cgroup2", None)


def cgroup1_mount(controller: str) -> Path | None:
    """Return where a version 1 controller is mounted."""
    return _mounted("cgroup", controller)


def _mounted(fstype: str, option: str | None) -> Path | None:
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        left, _, right = line.partition(" - ")
        kind, _, options = right.split(" ", 2)
        if kind == fstype and (option is None or option in options.split(",")):
            return Path(left.split()[4])
    return None


def _cgroup2(controller: str) -> bool:
    mount = cgroup2_mount()
    if mount is None:
        return False
    return not controller or controller in (mount / "cgroup.controllers").read_text().split()


def _kernel(version: str) -> bool:
    def number(text: str) -> tuple[int, ...]:
        return tuple(int(part) for part in text.partition("-")[0].partition("+")[0].split(".")[:2])

    return number(platform.release()) >= number(version)


def _capability(name: str) -> bool:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("CapEff:"):
            return bool(int(line.split()[1], 16) >> CAPABILITY_NUMBERS[name] & 1)
    return False


def _root(_: str) -> bool:
    return os.geteuid() == 0 and Path("/proc/self/uid_map").read_text().split() == ["0", "0", "4294967295"]


def _user_namespaces(_: str) -> bool:
    return subprocess.run(["unshare", "-U", "true"], capture_output=True).returncode == 0


def _file_system(name: str) -> bool:
    return name in Path("/proc/filesystems").read_text().split()


def _loop(_: str) -> bool:
    return os.geteuid() == 0 and subprocess.run(["losetup", "-f"], capture_output=True).returncode == 0


def _apparmor(_: str) -> bool:
    path = Path("/sys/module/apparmor/parameters/enabled")
    return path.exists() and path.read_text().strip() == "Y"


def _criu(_: str) -> bool:
    return shutil.which("criu") is not None and subprocess.run(["criu", "check"], capture_output=True).returncode == 0


PROBES: dict[str, Callable[[str], bool]] = {
    "root": _root,
    "user": lambda _: _root("") and shutil.which("setpriv") is not None,
    "program": lambda name: shutil.which(name) is not None,
    "kernel": _kernel,
    "cap": _capability,
    "userns": _user_namespaces,
    "fs": _file_system,
    "cgroup2": _cgroup2,
    "cgroup1": lambda name: cgroup1_mount(name) is not None,
    "cgroup": lambda name: cgroup1_mount(name) is not None or _cgroup2(name),
    "pure-cgroup2": lambda _: cgroup2_mount() == Path("/sys/fs/cgroup"),
    "hybrid": lambda _: cgroup2_mount() not in (None, Path("/sys/fs/cgroup")),
    "systemd": lambda _: os.path.isdir("/run/systemd/system"),
    "apparmor": _apparmor,
    "criu": _criu,
    "loop": _loop,
    "shifted-host": lambda _: not cannot_shift("/", kernel_version()),
    "disk": lambda _: bool(os.environ.get("PYCONTAIN_TEST_DISK")),
}
