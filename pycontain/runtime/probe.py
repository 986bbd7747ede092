"""What this host is: the facts that a plan depends on, read once per start."""

from __future__ import annotations

import os

from pycontain.kernel import _sys
from pycontain.plan.capabilities import SYS_ADMIN

ARCHITECTURES = {"arm64": "aarch64", "armv7l": "arm", "armv8l": "arm", "i686": "i386", "i586": "i386"}


def kernel_version() -> tuple[int, int]:
    """Return (major, minor) of the running kernel."""
    major, minor = os.uname().release.split(".")[:2]
    return int(major), int("".join(char for char in minor if char.isdigit()) or 0)


def architecture() -> str:
    """Return the machine's name as the syscall tables have it."""
    machine = os.uname().machine
    return ARCHITECTURES.get(machine, machine)


def is_privileged() -> bool:
    """Whether this process may mount on the host: root with CAP_SYS_ADMIN, in the first user namespace."""
    if os.geteuid() != 0 or not _sys.capget()[0] >> SYS_ADMIN & 1:
        return False
    return in_first_user_namespace()


def in_first_user_namespace() -> bool:
    """Whether ids are the host's: the map of the first user namespace is all ids onto themselves."""
    with open("/proc/self/uid_map", encoding="utf-8") as file:
        return file.read().split() == ["0", "0", "4294967295"]


def setgroups_denied(process: str = "/proc/self") -> bool:
    """Whether nobody in a process's user namespace may change groups. Source: user_namespaces(7)"""
    with open(f"{process}/setgroups", encoding="utf-8") as file:
        return file.read(4) == "deny"


def last_capability() -> int:
    """Return the highest capability number that this kernel knows."""
    with open("/proc/sys/kernel/cap_last_cap", encoding="utf-8") as file:
        return int(file.read())


def selinux_enabled() -> bool:
    """Whether SELinux has a policy on this host: its file system is mounted when one is loaded. Source: selinux(8)"""
    return os.path.exists("/sys/fs/selinux/enforce")


def apparmor_enabled() -> bool:
    """Whether AppArmor confines programs on this host."""
    try:
        with open("/sys/module/apparmor/parameters/enabled", encoding="utf-8") as file:
            return file.read(1) == "Y"
    except FileNotFoundError:
        return False
