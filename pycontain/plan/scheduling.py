"""How the kernel is to schedule a process, as numbers: processor, block devices, memory, execution domain. [lean]

Source: sched_setattr(2), ioprio_set(2), set_mempolicy(2), personality(2), linux/sched.h, linux/mempolicy.h
"""

from __future__ import annotations

from pycontain.errors import SpecError
from pycontain.record import Record
from pycontain.spec.number_list import parse_number_list

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pycontain.spec.linux import MemoryPolicy
    from pycontain.spec.process import Process
    from pycontain.spec.runtime import Spec

POLICIES = {
    "SCHED_OTHER": 0,
    "SCHED_FIFO": 1,
    "SCHED_RR": 2,
    "SCHED_BATCH": 3,
    "SCHED_IDLE": 5,
    "SCHED_DEADLINE": 6,
}
SCHEDULER_FLAGS = {
    "SCHED_FLAG_RESET_ON_FORK": 0x01,
    "SCHED_FLAG_RECLAIM": 0x02,
    "SCHED_FLAG_DL_OVERRUN": 0x04,
    "SCHED_FLAG_KEEP_POLICY": 0x08,
    "SCHED_FLAG_KEEP_PARAMS": 0x10,
    "SCHED_FLAG_UTIL_CLAMP_MIN": 0x20,
    "SCHED_FLAG_UTIL_CLAMP_MAX": 0x40,
}
# whatever the caller is bound to, the container's cpuset decides
ALL_CPUS = b"\xff" * 1024
LAST_NODE = 1023  # MAX_NUMNODES of the largest kernels, linux/numa.h
IO_CLASSES = {"IOPRIO_CLASS_RT": 1, "IOPRIO_CLASS_BE": 2, "IOPRIO_CLASS_IDLE": 3}
IO_CLASS_SHIFT = 13
MEMORY_MODES = {
    "MPOL_DEFAULT": 0,
    "MPOL_PREFERRED": 1,
    "MPOL_BIND": 2,
    "MPOL_INTERLEAVE": 3,
    "MPOL_LOCAL": 4,
    "MPOL_PREFERRED_MANY": 5,
    "MPOL_WEIGHTED_INTERLEAVE": 6,
}
MEMORY_FLAGS = {"MPOL_F_NUMA_BALANCING": 1 << 13, "MPOL_F_RELATIVE_NODES": 1 << 14, "MPOL_F_STATIC_NODES": 1 << 15}
PERSONALITIES = {"LINUX": 0, "LINUX32": 8}


class Scheduling(Record):
    """What is asked for; None and b"" leave the kernel's ways as they are.

    ``scheduler`` is (policy, nice, flags, priority, runtime, deadline, period) with times in nanoseconds;
    ``io_priority`` is class and priority in one number; ``memory_policy`` is (mode with flags, node numbers);
    ``first_cpus`` hold before the cgroup is joined, ``cpus`` after: bit n of the bytes is CPU n.
    """

    scheduler: tuple[int, int, int, int, int, int, int] | None = None
    io_priority: int | None = None
    personality: int | None = None
    memory_policy: tuple[int, tuple[int, ...]] | None = None
    first_cpus: bytes = b""
    cpus: bytes = b""

    @property
    def by_maker(self) -> bool:
        """Whether something is set from outside, with the host's rights."""
        return self.scheduler is not None or self.io_priority is not None


NO_SCHEDULING = Scheduling()


def of_spec(spec: Spec) -> Scheduling:
    """Return what holds for the first process of a container; its CPU affinity is for ``exec`` alone."""
    assert spec.process is not None, "rules.validate has seen to it"
    found = of_process(spec.process).replace(first_cpus=b"", cpus=b"")
    personality, policy = spec.linux.personality, spec.linux.memory_policy
    return found.replace(
        personality=None if personality is None else PERSONALITIES[personality.domain],
        memory_policy=None if policy is None else _memory_policy(policy),
    )


def of_process(process: Process) -> Scheduling:
    """Return what a process of ``exec`` asks for."""
    scheduler, io, affinity = process.scheduler, process.io_priority, process.exec_cpu_affinity
    return Scheduling(
        scheduler=None
        if scheduler is None
        else (
            POLICIES[scheduler.policy],
            scheduler.nice,
            sum(SCHEDULER_FLAGS[name] for name in set(scheduler.flags)),
            scheduler.priority,
            scheduler.runtime,
            scheduler.deadline,
            scheduler.period,
        ),
        io_priority=None if io is None else IO_CLASSES[io.io_class] << IO_CLASS_SHIFT | io.priority,
        first_cpus=b"" if affinity is None else _cpus(affinity.initial, "initial"),
        cpus=b"" if affinity is None else _cpus(affinity.final, "final"),
    )


def _cpus(text: str | None, name: str) -> bytes:
    return number_mask(parse_number_list(text or "", f"process.execCPUAffinity.{name}"))


def number_mask(numbers: tuple[int, ...]) -> bytes:
    """Return little-endian bytes in which the bits of these numbers are set."""
    mask = sum(1 << number for number in set(numbers))
    return mask.to_bytes((mask.bit_length() + 7) // 8, "little")


def _memory_policy(policy: MemoryPolicy) -> tuple[int, tuple[int, ...]]:
    nodes = parse_number_list(policy.nodes or "", "linux.memoryPolicy.nodes")
    if nodes and nodes[-1] > LAST_NODE:
        raise SpecError("linux.memoryPolicy.nodes", f"no kernel has a node {nodes[-1]}")
    mode = MEMORY_MODES[policy.mode] | sum(MEMORY_FLAGS[name] for name in set(policy.flags))
    return mode, nodes
