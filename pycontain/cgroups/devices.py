"""Which devices a cgroup may use: ``devices.allow`` and ``devices.deny`` in cgroup v1, an eBPF program in v2. [lean]

Source: cgroup-v1/devices.rst; cgroup-v2.rst "Device controller"; bpf(2); include/uapi/linux/bpf.h
"""

from __future__ import annotations

import errno
import os

from pycontain.errors import HostError
from pycontain.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pycontain.cgroups.directory import Directory
    from pycontain.spec.resources import DeviceRule

BPF_PROG_TYPE_CGROUP_DEVICE = 15
BPF_CGROUP_DEVICE = 6
BPF_F_ALLOW_MULTI = 1 << 1
BPF_F_REPLACE = 1 << 2


class DeviceFilter(Record):
    """``rules`` in normal form and their ``program``, as ``plan.device_filter.normalize`` and ``build`` return them."""

    rules: tuple[DeviceRule, ...]
    program: bytes

    @property
    def allows_everything(self) -> bool:
        """Return whether nothing is forbidden."""
        return len(self.rules) == 1 and self.rules[0].allow


def check_v1(rules: tuple[DeviceRule, ...]) -> None:
    """Raise HostError for a list that cgroup v1 would silently take for another one."""
    for rule in rules[1:]:
        if rule.allow == rules[0].allow:
            verb, other = ("allow", "deny") if rule.allow else ("deny", "allow")
            raise HostError(
                f"devices: cgroup v1 cannot {verb} {_numbers(rule)} within a wider rule that says {other}",
                requirement="cgroup v2",
                hint=f"list the devices to {other} one by one, or boot with systemd.unified_cgroup_hierarchy=1",
            )


def write_v1(directory: Directory, rules: tuple[DeviceRule, ...]) -> None:
    """Make the rules hold in a cgroup of v1, touching only what changes where the default stays "deny".

    Raises:
        HostError: the kernel refuses, or the list cannot be expressed.
    """
    check_v1(rules)
    present = directory.read("devices.list").splitlines()
    wanted = [_numbers(rule) for rule in rules[1:]]
    writes: tuple[tuple[str, list[str]], ...]
    if rules[0].allow:
        writes = (("devices.allow", ["a"]), ("devices.deny", wanted))
    elif "a *:* rwm" in present:
        writes = (("devices.deny", ["a"]), ("devices.allow", wanted))
    else:
        added = [line for line in wanted if line not in present]
        writes = (("devices.allow", added), ("devices.deny", _surplus(present, wanted)))
    try:
        for file, lines in writes:
            if lines:
                directory.write(file, "\n".join(lines))
    except OSError as error:
        reason = (error.strerror or "").lower()
        raise HostError(
            f"devices: write {error.filename}: {reason}",
            requirement="cgroup:devices",
            hint="a cgroup may not allow what the one above it denies" if error.errno == errno.EPERM else "",
        ) from error


def _surplus(present: list[str], wanted: list[str]) -> list[str]:
    """Return what to deny: accesses that are allowed now and not wanted."""
    keep = {line.rpartition(" ")[0]: line.rpartition(" ")[2] for line in wanted}
    surplus = []
    for line in present:
        device, _, access = line.rpartition(" ")
        rest = "".join(letter for letter in access if letter not in keep.get(device, ""))
        if rest:
            surplus.append(f"{device} {rest}")
    return surplus


def _numbers(rule: DeviceRule) -> str:
    """Return a rule as ``devices.allow`` takes it and ``devices.list`` shows it."""
    if rule.type == "a":
        return "a"
    major = "*" if rule.major is None else str(rule.major)
    minor = "*" if rule.minor is None else str(rule.minor)
    return f"{rule.type} {major}:{minor} {rule.access}"


def write_v2(directory: Directory, program: bytes) -> None:
    """Make ``program`` the one that decides for this cgroup; one attached before is replaced in one step.

    Programs on the cgroups above go on deciding too: all have to allow.

    Raises:
        HostError: the kernel or its configuration refuses.
    """
    from pycontain.kernel import _sys

    try:
        fd = _sys.bpf_prog_load(BPF_PROG_TYPE_CGROUP_DEVICE, BPF_CGROUP_DEVICE, program, "Apache-2.0")
    except OSError as error:
        raise _refused(error) from error
    try:
        _attach(directory.fd, fd)
    except OSError as error:
        raise _refused(error) from error
    finally:
        os.close(fd)


def _attach(cgroup_fd: int, program_fd: int) -> None:
    from pycontain.kernel import _sys

    old = []
    try:
        old = [_sys.bpf_prog_get_fd_by_id(number) for number in _sys.bpf_prog_query(cgroup_fd, BPF_CGROUP_DEVICE)]
        if len(old) == 1:
            flags = BPF_F_ALLOW_MULTI | BPF_F_REPLACE
            _sys.bpf_prog_attach(cgroup_fd, program_fd, BPF_CGROUP_DEVICE, flags, old[0])
            return
        _sys.bpf_prog_attach(cgroup_fd, program_fd, BPF_CGROUP_DEVICE, BPF_F_ALLOW_MULTI)
        # several, so not ours alone: for a moment old and new both have to allow, never neither
        for fd in old:
            _sys.bpf_prog_detach(cgroup_fd, fd, BPF_CGROUP_DEVICE)
    finally:
        for fd in old:
            os.close(fd)


def detach_v2(directory: Directory) -> None:
    """Take every device program off this cgroup, so that only those above it decide.

    Raises:
        HostError: the kernel refuses.
    """
    from pycontain.kernel import _sys

    try:
        for number in _sys.bpf_prog_query(directory.fd, BPF_CGROUP_DEVICE):
            fd = _sys.bpf_prog_get_fd_by_id(number)
            try:
                _sys.bpf_prog_detach(directory.fd, fd, BPF_CGROUP_DEVICE)
            finally:
                os.close(fd)
    except OSError as error:
        raise _refused(error) from error


def _refused(error: OSError) -> HostError:
    if error.errno in (errno.EPERM, errno.EACCES):
        hint = (
            "a device filter of cgroup v2 needs CAP_BPF and CAP_NET_ADMIN, or CAP_SYS_ADMIN, in the host's user "
            "namespace: run as root of the host, or rootless, where devices need no filter"
        )
    elif error.errno in (errno.EINVAL, errno.ENOSYS):
        hint = "the kernel needs CONFIG_CGROUP_BPF and CONFIG_BPF_SYSCALL"
    else:
        hint = ""
    return HostError(
        f"devices: {error.filename or 'bpf'}: {(error.strerror or '').lower()}",
        requirement="bpf:cgroup_device",
        hint=hint,
    )
