"""What this host can and cannot do for containers, and the command that mends each gap.

Facts are read or tried (:mod:`pycontain.runtime.trials`); nothing is changed but a directory that is made and removed
again for the overlay's trial.
"""

from __future__ import annotations

import os
import shutil
import sys

from pycontain import modulepack
from pycontain.cgroups.host import probe_host, usable
from pycontain.cgroups.offers import lacking, offered
from pycontain.engine.filesystems import cannot_shift, is_overlay
from pycontain.engine.netfiles import read_host_file
from pycontain.errors import UsageError
from pycontain.kernel import _sys
from pycontain.kernel import constants as kernel
from pycontain.record import Record
from pycontain.runtime import trials
from pycontain.runtime.abilities import filesystems
from pycontain.runtime.probe import kernel_version, selinux_enabled

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from pycontain.cgroups.layout import CgroupLayout
    from pycontain.runtime.settings import Settings

OK = "ok"
NOTE = "note"
GAP = "gap"
FAIL = "fail"
LEAST_KERNEL = (6, 1)
_LIMITS = ("memory", "cpu", "pids", "cpuset", "io")


class Finding(Record):
    """``status``: OK; NOTE, worth knowing; GAP, something is missing that some options need; FAIL, every run needs it.

    ``fix`` is a command or a kernel parameter, "" where there is nothing to mend.
    """

    name: str
    status: str
    text: str
    fix: str = ""


class Examination:
    """One look at the host; ``root`` is a root file system that the user wants to run, or ""."""

    def __init__(self, settings: Settings, root: str = "") -> None:
        self.settings = settings
        self.root = root
        self.privileged = os.geteuid() == 0 and _has_capability(kernel.CAP_SYS_ADMIN)

    def findings(self) -> Iterator[Finding]:
        """Yield what is found, in the order in which a person would ask.

        Raises:
            UsageError: ``root`` is not a directory.
        """
        if self.root and not os.path.isdir(self.root):
            raise UsageError(f"ROOTFS: {self.root}: not a directory", hint="a directory with a root file system")
        yield self._kernel()
        yield self._privilege()
        yield from self._installation()
        yield from self._namespaces()
        yield from self._subordinate_ids()
        yield from self._cgroups()
        yield from self._shifted_owners()
        yield self._overlay()
        yield from self._filters()
        yield from self._systemd()
        yield self._runtime_directory()

    def _kernel(self) -> Finding:
        name = os.uname()
        text = f"Linux {name.release} on {name.machine}"
        if kernel_version() < LEAST_KERNEL:
            wanted = ".".join(map(str, LEAST_KERNEL))
            return Finding("kernel", FAIL, f"{text}; {wanted} is the least that is tested", "install a newer kernel")
        return Finding("kernel", OK, text)

    def _privilege(self) -> Finding:
        if os.geteuid() != 0:
            text = f"ordinary user (uid {os.geteuid()}): containers run rootless, in a user namespace"
            return Finding("privilege", NOTE, text)
        if not self.privileged:
            return Finding("privilege", NOTE, "root without CAP_SYS_ADMIN: treated like an ordinary user")
        if not _has_capability(kernel.CAP_SYS_RESOURCE):
            text = "root without CAP_SYS_RESOURCE: hard limits cannot be raised, oom scores cannot be lowered"
            return Finding("privilege", NOTE, text)
        return Finding("privilege", OK, "root with every capability that is needed")

    def _installation(self) -> Iterator[Finding]:
        version = ".".join(map(str, sys.version_info[:3]))
        yield Finding("python", OK if sys.version_info >= (3, 11) else FAIL, f"{version}, {sys.executable}")
        package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
        if not os.path.exists(f"{package}/reaper/pycontain-init"):
            yield Finding(
                "reaper", GAP, "pycontain-init is missing: no --init", "install pycontain again: make install"
            )
        fault = modulepack.examine(os.path.dirname(package))
        if fault:
            text = f"pycontain/modules.pack: {fault}; every command starts later"
            yield Finding("start", NOTE, text, "install pycontain again: make install")

    def _namespaces(self) -> Iterator[Finding]:
        limit = read_host_file("/proc/sys/user/max_user_namespaces").strip()
        clone = read_host_file("/proc/sys/kernel/unprivileged_userns_clone").strip()
        restricted = read_host_file("/proc/sys/kernel/apparmor_restrict_unprivileged_userns").strip()
        failure = trials.attempt(trials.user_namespace_with_map)
        status = OK if not failure else FAIL
        if not failure:
            yield Finding("user namespaces", OK, f"can be made (at most {limit or '?'})")
        elif limit == "0":
            fix = "sysctl -w user.max_user_namespaces=15000"
            yield Finding("user namespaces", status, "forbidden by user.max_user_namespaces = 0", fix)
        elif clone == "0" and not self.privileged:
            fix = "sysctl -w kernel.unprivileged_userns_clone=1"
            yield Finding("user namespaces", status, "forbidden by kernel.unprivileged_userns_clone = 0", fix)
        elif restricted == "1" and not self.privileged:
            fix = "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0, or an AppArmor profile that allows userns"
            yield Finding("user namespaces", status, "restricted by AppArmor, as on Ubuntu 24.04", fix)
        else:
            yield Finding("user namespaces", status, f"cannot be made: {failure}", "--userns host does without (root)")
        missing = []
        for name, flag in (
            ("pid", kernel.CLONE_NEWPID),
            ("network", kernel.CLONE_NEWNET),
            ("ipc", kernel.CLONE_NEWIPC),
            ("uts", kernel.CLONE_NEWUTS),
            ("cgroup", kernel.CLONE_NEWCGROUP),
        ):
            if trials.attempt(trials.namespace(flag)):
                missing.append(name)
        if missing:
            yield Finding(
                "namespaces", FAIL, "cannot be made: " + ", ".join(missing), "see max_*_namespaces: sysctl user"
            )
        else:
            yield Finding("namespaces", OK, "pid, network, ipc, uts, cgroup can be made")
        if not os.path.exists("/proc/self/ns/time"):
            yield Finding(
                "time namespaces", GAP, "not in this kernel: no --time-offset", "a kernel with CONFIG_TIME_NS"
            )

    def _subordinate_ids(self) -> Iterator[Finding]:
        if self.privileged:
            return
        name = _own_name()
        lacking = [path for path in ("/etc/subuid", "/etc/subgid") if not _has_range(path, name)]
        if lacking:
            text = f"no range for {name} in {' and '.join(lacking)}: containers have one user, root"
            fix = f"usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {name}"
            yield Finding("subordinate ids", GAP, text, f"sudo {fix}")
        elif not all(map(shutil.which, ("newuidmap", "newgidmap"))):
            yield Finding("subordinate ids", GAP, "newuidmap is missing", "sudo apt-get install uidmap")
        else:
            yield Finding("subordinate ids", OK, f"{name} has a range, newuidmap is there")

    def _cgroups(self) -> Iterator[Finding]:
        seen = probe_host()
        layout = usable(seen)
        if seen.mode == "none":
            yield Finding("cgroups", GAP, "none mounted: no limits", "mount -t cgroup2 none /sys/fs/cgroup")
            return
        yield Finding("cgroups", OK, f"mode {seen.mode}")
        yield from self._controllers(layout)
        if seen.unified is None:
            text = "no cgroup v2 hierarchy: no cgroup.kill, freezing through v1"
            yield Finding("cgroup2", GAP, text, "mount -t cgroup2 none /sys/fs/cgroup/unified")
        elif layout.unified is None:
            yield Finding("cgroup2", GAP, layout.unusable.get("unified", "not usable"), _delegation())

    def _controllers(self, layout: CgroupLayout) -> Iterator[Finding]:
        """Yield one line for the controllers that work, and one for each that does not."""
        where = offered(layout)
        found = [f"{name} ({where[name]})" for name in _LIMITS if name in where]
        missing = [(name, lacking(layout, name)) for name in _LIMITS if name not in where]
        if found:
            yield Finding("cgroup limits", OK, ", ".join(found))
        if missing:
            names = ", ".join(name for name, _ in missing)
            reasons = "; ".join(dict.fromkeys(reason for _, reason in missing))
            fixes = "; ".join(dict.fromkeys(self._controller_fix(name) for name, _ in missing))
            yield Finding("cgroup limits", GAP, f"none of {names}: {reasons}", fixes)

    def _controller_fix(self, name: str) -> str:
        if not self.privileged:
            return _delegation()
        if name == "memory":
            return "boot with cgroup_enable=memory"
        return f"echo +{name} > /sys/fs/cgroup/cgroup.subtree_control"

    def _shifted_owners(self) -> Iterator[Finding]:
        if not self.privileged:
            return
        data = _existing(self.settings.data)
        places = {"data directory": data, "root file system of the host": "/"}
        if self.root:
            places[self.root] = os.path.realpath(self.root)
        for name, path in places.items():
            failure = cannot_shift(path, kernel_version()) or trials.attempt(trials.idmapped_mount(path))
            kind = _filesystem(path)
            if not failure:
                yield Finding(f"idmapped mounts: {name}", OK, f"{path} ({kind})")
                continue
            text = f"{path} ({kind}): {failure}; --userns auto falls back to an identity map there"
            yield Finding(f"idmapped mounts: {name}", GAP, text, "keep roots on ext4, xfs or btrfs")

    def _overlay(self) -> Finding:
        place = _existing(self.settings.data)
        if not os.access(place, os.W_OK | os.X_OK):
            return Finding("overlay", FAIL, f"{place} is not writable", "choose another place: --root DIR")
        failure = trials.attempt(trials.overlay(place, privileged=self.privileged))
        kind = _filesystem(place)
        if not failure:
            return Finding("overlay", OK, f"upper layers can lie in {place} ({kind})")
        if self._memory_layers():
            text = (
                f"{place} is on an overlay, which can hold no upper layer: changes are kept in memory and go at the end"
            )
            return Finding("overlay", GAP, text, "--root DIR on a volume, on ext4, xfs or btrfs, keeps them")
        known = "overlay" in filesystems()
        fix = "--root DIR on ext4, xfs or btrfs" if known else "modprobe overlay"
        return Finding("overlay", FAIL, f"upper layers cannot lie in {place} ({kind}): {failure}", fix)

    def _memory_layers(self) -> bool:
        """Tell whether layers would be made in memory, as runs do on an overlay, and that works."""
        return is_overlay(self.settings.data) and not trials.attempt(trials.overlay("", privileged=self.privileged))

    def _filters(self) -> Iterator[Finding]:
        actions = read_host_file("/proc/sys/kernel/seccomp/actions_avail").strip()
        if actions:
            yield Finding("seccomp", OK, actions)
        else:
            yield Finding("seccomp", FAIL, "not in this kernel", "a kernel with CONFIG_SECCOMP_FILTER")
        modules = read_host_file("/sys/kernel/security/lsm").strip()
        if read_host_file("/sys/module/apparmor/parameters/enabled").startswith("Y"):
            yield Finding("security modules", OK, f"AppArmor is active ({modules or 'list not readable'})")
        elif selinux_enabled():
            yield Finding("security modules", OK, f"SELinux is active ({modules or 'list not readable'})")
        else:
            text = f"neither AppArmor nor SELinux is active ({modules or 'none listed'})"
            yield Finding("security modules", NOTE, text, "boot with apparmor=1 security=apparmor")

    def _systemd(self) -> Iterator[Finding]:
        if os.path.isdir("/run/systemd/system"):
            yield Finding("systemd", OK, "runs this host: containers get scopes of their own")
        else:
            yield Finding("systemd", NOTE, "does not run this host: cgroups are made directly")
        if not self.privileged and os.path.isdir("/run/systemd/system"):
            user_bus = f"/run/user/{os.geteuid()}/bus"
            if not os.path.exists(user_bus):
                yield Finding(
                    "user manager", GAP, f"{user_bus} is missing", f"sudo loginctl enable-linger {os.geteuid()}"
                )

    def _runtime_directory(self) -> Finding:
        place = _existing(self.settings.state)
        kind = _filesystem(place)
        text = f"{self.settings.state} ({kind})"
        if not os.access(place, os.W_OK | os.X_OK):
            return Finding("state directory", FAIL, f"{text} is not writable", "set XDG_RUNTIME_DIR, or --root DIR")
        if kind != "tmpfs":
            return Finding("state directory", NOTE, f"{text} is no tmpfs: state of dead containers survives a reboot")
        return Finding("state directory", OK, text)


def _has_capability(number: int) -> bool:
    effective, _, _ = _sys.capget()
    return bool(effective >> number & 1)


def _own_name() -> str:
    """Return the user's name, or the number of one that no account has."""
    import pwd

    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


def _has_range(path: str, name: str) -> bool:
    names = {name, str(os.geteuid())}
    return any(line.split(":")[0] in names for line in read_host_file(path).splitlines() if line.count(":") == 2)


def _delegation() -> str:
    if not os.path.isdir("/run/systemd/system"):
        return (
            f"as root, make a cgroup directory, hand it to this user (chown -R {os.geteuid()}), and start a shell in it"
        )
    place = "/etc/systemd/system/user@.service.d"
    return (
        f"sudo mkdir -p {place} && printf '[Service]\\nDelegate=cpu cpuset io memory pids\\n' | sudo tee"
        f" {place}/delegate.conf && sudo systemctl daemon-reload; then log in again"
    )


def _words(directory: str, name: str) -> tuple[str, ...]:
    return tuple(read_host_file(f"{directory}/{name}").split())


def _existing(path: str) -> str:
    """Return the nearest directory above that exists: what would be made lies on its file system."""
    while not os.path.isdir(path):
        path = os.path.dirname(path)
    return path


def _filesystem(path: str) -> str:
    """Return the type of the file system that ``path`` lies on. Source: proc_pid_mountinfo(5)"""
    device = os.stat(path).st_dev
    number = f"{os.major(device)}:{os.minor(device)}"
    best = ""
    for line in read_host_file("/proc/self/mountinfo").splitlines():
        fields = line.split(" ")
        if fields[2] == number:
            return fields[fields.index("-") + 1]
        if path.startswith(fields[4]):
            best = fields[fields.index("-") + 1]
    # btrfs has a device number of its own for each subvolume
    return best or "unknown"
