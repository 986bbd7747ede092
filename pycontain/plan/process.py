"""The container's process as numbers: what init applies to itself last, compiled from the spec's names."""

from __future__ import annotations

from pycontain.errors import SpecError
from pycontain.plan import capabilities
from pycontain.plan.scheduling import NO_SCHEDULING
from pycontain.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pycontain.plan.scheduling import Scheduling
    from pycontain.spec.process import Process

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

# asm-generic/resource.h; the same numbers on x86-64 and aarch64.
RLIMITS = {
    "RLIMIT_CPU": 0,
    "RLIMIT_FSIZE": 1,
    "RLIMIT_DATA": 2,
    "RLIMIT_STACK": 3,
    "RLIMIT_CORE": 4,
    "RLIMIT_RSS": 5,
    "RLIMIT_NPROC": 6,
    "RLIMIT_NOFILE": 7,
    "RLIMIT_MEMLOCK": 8,
    "RLIMIT_AS": 9,
    "RLIMIT_LOCKS": 10,
    "RLIMIT_SIGPENDING": 11,
    "RLIMIT_MSGQUEUE": 12,
    "RLIMIT_NICE": 13,
    "RLIMIT_RTPRIO": 14,
    "RLIMIT_RTTIME": 15,
}
INFINITY = 2**64 - 1


class CapabilitySets(Record):
    """Five bit masks, one bit per capability number."""

    bounding: int
    effective: int
    permitted: int
    inheritable: int
    ambient: int


class ProcessPlan(Record):
    """What finish() needs, and what comes before it, all resolved.

    ``paths`` are the files to try in order; ``rlimits`` are (number, soft, hard) with -1 for no limit; ``groups``
    are the supplementary ids, None where the user namespace does not let them be set; ``seccomp`` is a BPF program or
    None; ``umask`` None leaves 022. ``oom_score_tried``: the score is one that nobody asked for, and may be refused.
    Of ``preserve_fds`` descriptors from 3 on, which stay open, the program is told of ``listen_fds``: sd_listen_fds(3).
    """

    argv: tuple[str, ...]
    env: tuple[str, ...]
    paths: tuple[str, ...]
    cwd: str
    uid: int
    gid: int
    groups: tuple[int, ...] | None
    umask: int | None
    capabilities: CapabilitySets
    no_new_privileges: bool
    rlimits: tuple[tuple[int, int, int], ...]
    oom_score_adj: int | None
    terminal: bool
    oom_score_tried: bool = False
    seccomp: bytes | None = None
    seccomp_flags: int = 0
    apparmor: str = ""
    selinux: str = ""
    preserve_fds: int = 0
    listen_fds: int = 0
    scheduling: Scheduling = NO_SCHEDULING


def compile_process(
    process: Process,
    *,
    last_capability: int,
    seccomp: bytes | None,
    seccomp_flags: int = 0,
    preserve_fds: int = 0,
    groups: bool = True,
    oom_score: int | None = None,
    available: int = -1,
) -> ProcessPlan:
    """Return the process of a spec as a plan.

    ``groups`` is false in a user namespace that was mapped without privilege: setgroups is denied there, and the one
    group that is mapped is all that there is (user_namespaces(7)). ``oom_score`` is tried where the spec has none.
    ``available`` is the mask of capabilities that the process can be given.

    Raises:
        SpecError: an unknown limit.
    """
    rlimits = []
    for index, limit in enumerate(process.rlimits):
        if limit.type not in RLIMITS:
            raise SpecError(f"process.rlimits[{index}].type", f"{limit.type!r} is not a resource limit")
        rlimits.append((RLIMITS[limit.type], _limit(limit.soft), _limit(limit.hard)))
    return ProcessPlan(
        argv=process.args,
        env=_last_ones(process.env),
        paths=search_paths(process.args[0], process.env) if process.args else (),
        cwd=process.cwd,
        uid=process.user.uid,
        gid=process.user.gid,
        groups=process.user.additional_gids if groups else None,
        umask=process.user.umask,
        capabilities=_capability_sets(process, last_capability, available),
        no_new_privileges=process.no_new_privileges,
        rlimits=tuple(rlimits),
        oom_score_adj=oom_score if process.oom_score_adj is None else process.oom_score_adj,
        oom_score_tried=process.oom_score_adj is None,
        terminal=process.terminal,
        seccomp=seccomp,
        seccomp_flags=seccomp_flags,
        apparmor=process.apparmor_profile or "",
        selinux=process.selinux_label or "",
        preserve_fds=preserve_fds,
    )


def search_paths(program: str, env: tuple[str, ...]) -> tuple[str, ...]:
    """Return the files that execvp(3) would try, from the *container's* PATH: resolved before the program's world."""
    if "/" in program or not program:
        return (program,)  # an empty name is not looked for: with a directory before it, it would be that directory
    path = DEFAULT_PATH
    for variable in env:
        if variable.startswith("PATH="):
            path = variable[5:]
    return tuple(f"{directory or '.'}/{program}" for directory in path.split(":"))


def _last_ones(env: tuple[str, ...]) -> tuple[str, ...]:
    """Return an environment in which each name is once, with its last value; an empty HOME is as good as none."""
    found: dict[str, str] = {}
    for variable in env:
        found[variable.partition("=")[0]] = variable
    if found.get("HOME") == "HOME=":
        del found["HOME"]
    return tuple(found.values())


def _limit(value: int) -> int:
    return -1 if value == INFINITY else value


def _capability_sets(process: Process, last: int, available: int) -> CapabilitySets:
    sets = process.capabilities
    if sets is None:
        return CapabilitySets(0, 0, 0, 0, 0)
    # Names that this kernel does not know, what the runtime itself does not have, and what another set forbids, cannot
    # be granted: the spec wants a warning, not a failure.
    # Source: capabilities(7) "Transformation of capabilities", prctl(2) PR_CAP_AMBIENT_RAISE
    permitted = capabilities.mask(sets.permitted, last) & available
    inheritable = capabilities.mask(sets.inheritable, last) & available
    return CapabilitySets(
        bounding=capabilities.mask(sets.bounding, last),
        effective=capabilities.mask(sets.effective, last) & permitted,
        permitted=permitted,
        inheritable=inheritable,
        ambient=capabilities.mask(sets.ambient, last) & permitted & inheritable,
    )
