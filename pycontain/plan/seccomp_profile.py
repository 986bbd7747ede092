"""Profiles with conditions, as Docker writes them: which rules hold for a container on a host. [lean]

A rule may be included or excluded by capability, architecture and kernel version; what is left is a plain profile of
the OCI specification. Source: github.com/moby/profiles, package seccomp.
"""

from __future__ import annotations

from pycontain.plan.seccomp_tables import AARCH64, ARM, X86, X86_64
from pycontain.spec.seccomp import LinuxSeccomp, LinuxSeccompArg, LinuxSyscall

TYPE_CHECKING = False
if TYPE_CHECKING:
    # capabilities, architectures by Docker's names, minimum kernel
    Condition = tuple[tuple[str, ...], tuple[str, ...], tuple[int, int] | None]

# Docker's names of native architectures in conditions
_NAMES = {X86_64: "amd64", X86: "x86", AARCH64: "arm64", ARM: "arm"}


class Situation:
    """What conditions are about: bounding capabilities, native architecture (SCMP_ARCH_*), kernel (major, minor)."""

    __slots__ = ("arch", "caps", "kernel", "name")

    def __init__(self, caps: frozenset[str], arch: str, kernel: tuple[int, int]) -> None:
        self.caps = caps
        self.arch = arch
        self.kernel = kernel
        self.name = _NAMES.get(arch, "")

    def included(self, condition: Condition | None) -> bool:
        """Tell whether a rule with these ``includes`` stays: everything that is named must be there."""
        if condition is None:
            return True
        caps, arches, kernel = condition
        if arches and self.name not in arches:
            return False
        return self.caps.issuperset(caps) and (kernel is None or self.kernel >= kernel)

    def excluded(self, condition: Condition | None) -> bool:
        """Tell whether a rule with these ``excludes`` goes: anything that is named suffices."""
        if condition is None:
            return False
        caps, arches, kernel = condition
        return self.name in arches or not self.caps.isdisjoint(caps) or (kernel is not None and self.kernel >= kernel)


def default_profile(caps: frozenset[str], arch: str, kernel: tuple[int, int]) -> LinuxSeccomp:
    """Return Docker's default profile for a container with the bounding set ``caps`` (CAP_* names).

    ``arch`` is the native architecture (SCMP_ARCH_*), ``kernel`` (major, minor).
    """
    from pycontain.plan.data.seccomp_default import ARCH_MAP, DEFAULT_ACTION, DEFAULT_ERRNO_RET, RULES

    situation = Situation(caps, arch, kernel)
    rules = []
    for names, action, errno_ret, args, includes, excludes in RULES:
        if situation.included(includes) and not situation.excluded(excludes):
            conditions = tuple(LinuxSeccompArg(*arg) for arg in args)
            rules.append(LinuxSyscall(tuple(names.split()), action, errno_ret, conditions))
    return LinuxSeccomp(
        default_action=DEFAULT_ACTION,
        default_errno_ret=DEFAULT_ERRNO_RET,
        architectures=(arch, *ARCH_MAP[arch]) if arch in ARCH_MAP else (),
        syscalls=tuple(rules),
    )
