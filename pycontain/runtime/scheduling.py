"""Gives a process its place in the kernel's schedules. [lean]

What needs privilege on the host is set by the maker, by process id, when the process waits for its start; what only the
process itself can set it sets before its filter is loaded.
"""

from __future__ import annotations

from pycontain.errors import HostError
from pycontain.kernel import _sys
from pycontain.plan.scheduling import number_mask

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pycontain.plan.scheduling import Scheduling

IOPRIO_WHO_PROCESS = 1


def schedule(pid: int, wanted: Scheduling) -> None:
    """Set policy and priorities of a process, from outside.

    Raises:
        HostError: the kernel refuses.
    """
    try:
        if wanted.scheduler is not None:
            policy, nice, flags, priority, runtime, deadline, period = wanted.scheduler
            _sys.sched_setattr(pid, policy, nice, priority, flags, runtime, deadline, period)
        if wanted.io_priority is not None:
            _sys.ioprio_set(IOPRIO_WHO_PROCESS, pid, wanted.io_priority)
    except OSError as error:
        what = "process.scheduler" if (error.filename or "").startswith("sched") else "process.ioPriority"
        raise HostError(
            f"{what}: {(error.strerror or '').lower()}", hint="real-time and better priorities need CAP_SYS_NICE"
        ) from error


def settle(wanted: Scheduling) -> None:
    """Take on execution domain and memory policy; in the process itself.

    Raises:
        HostError: the kernel refuses.
    """
    try:
        if wanted.personality is not None:
            _sys.personality(wanted.personality)
        if wanted.memory_policy is not None:
            mode, nodes = wanted.memory_policy
            _sys.set_mempolicy(mode, number_mask(nodes))
    except OSError as error:
        what = "linux.personality" if (error.filename or "").startswith("pers") else "linux.memoryPolicy"
        raise HostError(f"{what}: {(error.strerror or '').lower()}") from error


def bind_cpus(cpus: bytes, path: str) -> None:
    """Let this process, and what it makes, run on these CPUs alone; bit n is CPU n, b"" changes nothing.

    Raises:
        HostError: none of them is there, or its cpuset allows none.
    """
    if cpus:
        try:
            _sys.sched_setaffinity(0, cpus)
        except OSError as error:
            hint = "are these CPUs there, and in the container's cpuset?"
            raise HostError(f"{path}: {(error.strerror or '').lower()}", hint=hint) from error
