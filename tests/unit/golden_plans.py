"""What the golden plans are made from: command lines on an imagined host, compiled without looking at a real one."""

from __future__ import annotations

from pycontain.cli.runoptions import RUN_OPTIONS
from pycontain.cli.table import parse
from pycontain.engine import generate, mountargs, namespaces
from pycontain.engine.options import RunOptions, run_options
from pycontain.engine.surroundings import Peer, Surroundings
from pycontain.engine.users import Identity
from pycontain.plan.compile import compile_plan
from pycontain.plan.facts import (
    USERNS_AUTO,
    USERNS_CUSTOM,
    USERNS_HOST,
    USERNS_IDENTITY,
    USERNS_JOINED,
    USERNS_SINGLE,
    HostFacts,
    UserNamespace,
)
from pycontain.plan.plan import Plan
from pycontain.plan.rootfs import DIRECTORY, HOST, HOST_PUBLIC, RootSource, SystemMount
from pycontain.record import Record
from pycontain.spec.ids import IDMapping

ID = "0123456789ab"
PEER = "fedcba987654"
STATE = "/run/pycontain/containers"
DATA = "/var/lib/pycontain"
#: Stands for the compiled filter, whose length would change every golden file with every change of the profile.
FILTER = b"\0" * 8

AUTO = UserNamespace(USERNS_AUTO, (IDMapping(0, 524288, 65536),), (IDMapping(0, 524288, 65536),), idmap=True)
IDENTITY = UserNamespace(USERNS_IDENTITY, (IDMapping(0, 0, 2**32 - 1),), (IDMapping(0, 0, 2**32 - 1),))
SINGLE = UserNamespace(USERNS_SINGLE, (IDMapping(0, 1000, 1),), (IDMapping(0, 1000, 1),))
RANGE = UserNamespace(
    USERNS_CUSTOM,
    (IDMapping(0, 1000, 1), IDMapping(1, 100000, 65536)),
    (IDMapping(0, 1000, 1), IDMapping(1, 100000, 65536)),
)
NO_USERNS = UserNamespace(USERNS_HOST)
JOINED = AUTO.replace(kind=USERNS_JOINED)

V2 = (("", f"/sys/fs/cgroup/pycontain/{ID}"),)
HYBRID = (
    ("memory", f"/sys/fs/cgroup/memory/pycontain/{ID}"),
    ("pids", f"/sys/fs/cgroup/pids/pycontain/{ID}"),
    ("unified", f"/sys/fs/cgroup/unified/pycontain/{ID}"),
)


class Host(Record):
    """What the imagined host is like; ``userns`` is what has been decided for the container."""

    userns: UserNamespace = AUTO
    cgroup_trees: tuple[tuple[str, str], ...] = V2
    privileged: bool = True
    kernel: tuple[int, int] = (6, 18)
    mounts: tuple[SystemMount, ...] = ()


def plan_of(words: str, host: Host) -> Plan:
    """Return the plan of ``pycontain run WORDS`` on the host."""
    options = options_of(words)
    prepared = generate.generate(options, surroundings(options, host))
    facts = HostFacts(
        kernel=host.kernel,
        arch="x86_64",
        privileged=host.privileged,
        userns=host.userns,
        cgroup_trees=host.cgroup_trees,
    )
    seccomp = None if prepared.seccomp == "unconfined" else FILTER
    return compile_plan(
        prepared.spec, prepared.root, facts, seccomp=seccomp, keyring="_ses", preserve_fds=0, oom_score=0
    )


def options_of(words: str) -> RunOptions:
    """Return the options of a command line."""
    parsed = parse(RUN_OPTIONS, words.split())
    rootfs, *command = parsed.rest
    return run_options({**parsed.values, "rootfs": rootfs, "command": tuple(command)}, {})


def surroundings(options: RunOptions, host: Host) -> Surroundings:
    """Return what ``gather`` would find on the imagined host."""
    modes = namespaces.joined_modes(options)
    peer = Peer(PEER, 4711, 99, "other", f"{STATE}/{PEER}", {"kind": USERNS_AUTO}, {})
    return Surroundings(
        id=ID,
        name="kind_lion",
        directory=f"{STATE}/{ID}",
        data=DATA,
        rootless=not host.privileged,
        root=_root(options, host),
        identity=Identity(0, 0, (0,), "/root", "root"),
        hostname="thehost",
        volume_names=tuple(one.source or "f00d" for one in options.mounts if one.kind == mountargs.VOLUME),
        numbers={one.path: (8, 0) for one in (*options.limits.read_bps, *options.limits.write_bps)},
        peers=dict.fromkeys(modes, peer),
        init_program="/usr/lib/pycontain/reaper/pycontain-init" if options.init else "",
    )


def _root(options: RunOptions, host: Host) -> RootSource:
    overlay = "" if options.writable else f"{DATA}/overlay/{ID}"
    if options.rootfs.startswith("@"):
        kind = HOST if options.rootfs == "@host" else HOST_PUBLIC
        return RootSource(kind, "/", overlay, include=options.host_include, mounts=host.mounts)
    return RootSource(DIRECTORY, options.rootfs, overlay, writable=options.writable)
