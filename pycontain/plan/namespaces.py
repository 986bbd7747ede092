"""Which namespaces are made and which are joined, from the spec's list."""

from __future__ import annotations

from pycontain.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pycontain.plan.facts import HostFacts
    from pycontain.spec.runtime import Spec

# linux/sched.h
CLONE_FLAGS = {
    "time": 0x00000080,
    "mount": 0x00020000,
    "cgroup": 0x02000000,
    "uts": 0x04000000,
    "ipc": 0x08000000,
    "user": 0x10000000,
    "pid": 0x20000000,
    "network": 0x40000000,
}
# proc_pid_ns(5)
PROC_NAMES = {"mount": "mnt", "network": "net"}


class Namespaces(Record):
    """The namespaces of a container.

    ``clone`` are the CLONE_NEW* flags for clone3; ``join`` are (type, path) in the order to enter them, the user
    namespace first; ``late`` are flags that init unshares itself, the cgroup namespace once it is in its cgroup;
    ``time_offsets`` are lines for /proc/self/timens_offsets.
    """

    clone: int
    join: tuple[tuple[str, str], ...] = ()
    late: int = 0
    time_offsets: tuple[str, ...] = ()

    @property
    def needs_entry(self) -> bool:
        """Whether a process must enter something before init can be made in it."""
        return bool(self.join) or bool(self.clone & CLONE_FLAGS["time"])

    def has_new(self, kind: str) -> bool:
        """Whether the container gets a new namespace of this type."""
        return bool((self.clone | self.late) & CLONE_FLAGS[kind])

    def joins(self, kind: str) -> bool:
        """Whether the container enters a namespace that exists."""
        return any(name == kind for name, _ in self.join)

    def inherits(self, kind: str) -> bool:
        """Whether the container stays in the runtime's namespace of this type."""
        return not self.has_new(kind) and not self.joins(kind)


def compile_namespaces(spec: Spec, facts: HostFacts) -> Namespaces:
    """Return the namespaces of a spec.

    The cgroup namespace is unshared late where v1 hierarchies are entered by init itself: its root is the cgroup at
    the moment of unsharing (cgroup_namespaces(7)). The network namespace takes longer to make than all others
    together, 0.6 of 1.0 ms: init makes it while the runtime goes on.
    """
    clone = late = 0
    join: list[tuple[str, str]] = []
    for namespace in spec.linux.namespaces:
        if namespace.path is not None:
            join.append((namespace.type, namespace.path))
        elif namespace.type == "network" or (namespace.type == "cgroup" and len(facts.cgroup_trees) > 1):
            late |= CLONE_FLAGS[namespace.type]
        else:
            clone |= CLONE_FLAGS[namespace.type]
    if facts.userns.new:
        clone |= CLONE_FLAGS["user"]
    join.sort(key=lambda item: item[0] != "user")
    offsets = tuple(
        f"{clock} {offset.secs} {offset.nanosecs}\n" for clock, offset in sorted(spec.linux.time_offsets.items())
    )
    return Namespaces(clone=clone, join=tuple(join), late=late, time_offsets=offsets)
