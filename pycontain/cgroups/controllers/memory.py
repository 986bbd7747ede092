"""Memory. [lean]

The spec's ``swap`` is memory and swap together; cgroup v2 limits swap alone, so it gets the difference. With an
unlimited memory and no word about swap, swap becomes unlimited too, as in runc.

Source: config-linux.md#memory; cgroup-v2.rst "Memory"; cgroup-v1/memory.rst
"""

from __future__ import annotations

from pycontain.cgroups.setting import Setting
from pycontain.errors import HostError, SpecError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pycontain.spec.resources import LinuxResources, Memory

_PATH = "linux.resources.memory"


def v2(resources: LinuxResources) -> tuple[Setting, ...]:
    """Return the settings of cgroup v2.

    Swap goes first: with a smaller memory.max first, the kernel could still push pages out beyond the new swap limit.
    """
    memory = resources.memory
    if memory is None:
        return ()
    _refuse_what_v2_lacks(memory)
    found = []
    swap = swap_alone(memory)
    if swap is not None:
        # nothing to limit where the kernel has no swap accounting
        found.append(_setting("memory.swap.max", _max(swap), "swap", optional=swap == -1))
    if memory.limit:
        found.append(_setting("memory.max", _max(memory.limit), "limit"))
    if memory.reservation:
        found.append(_setting("memory.low", _max(memory.reservation), "reservation"))
    return tuple(found)


def v1(resources: LinuxResources) -> tuple[Setting, ...]:
    """Return the settings of cgroup v1."""
    memory = resources.memory
    if memory is None:
        return ()
    swap_alone(memory, may_lack_limit=True)
    found = []
    if memory.use_hierarchy is not None:
        found.append(_setting("memory.use_hierarchy", str(int(memory.use_hierarchy)), "useHierarchy"))
    if memory.limit:
        found.append(_setting("memory.limit_in_bytes", str(memory.limit), "limit"))
    if memory.swap:
        found.append(_setting("memory.memsw.limit_in_bytes", str(memory.swap), "swap", optional=memory.swap == -1))
    elif memory.limit == -1:
        found.append(_setting("memory.memsw.limit_in_bytes", "-1", "limit", optional=True))
    if memory.reservation:
        found.append(_setting("memory.soft_limit_in_bytes", str(memory.reservation), "reservation"))
    if memory.kernel and memory.kernel != -1:
        found.append(_setting("memory.kmem.limit_in_bytes", str(memory.kernel), "kernel"))
    if memory.kernel_tcp and memory.kernel_tcp != -1:
        found.append(_setting("memory.kmem.tcp.limit_in_bytes", str(memory.kernel_tcp), "kernelTCP"))
    if memory.swappiness is not None:
        if not 0 <= memory.swappiness <= 100:
            raise SpecError(f"{_PATH}.swappiness", f"{memory.swappiness} is not between 0 and 100")
        found.append(_setting("memory.swappiness", str(memory.swappiness), "swappiness"))
    if memory.disable_oom_killer:
        found.append(_setting("memory.oom_control", "1", "disableOOMKiller"))
    return tuple(found)


def swap_alone(memory: Memory, *, may_lack_limit: bool = False) -> int | None:
    """Return the limit of swap without memory, -1 for none, None if nothing is said.

    Raises:
        SpecError: memory and swap contradict each other.
    """
    for name, value in (("limit", memory.limit), ("swap", memory.swap), ("reservation", memory.reservation)):
        if value is not None and value < -1:
            raise SpecError(f"{_PATH}.{name}", f"{value} is neither a size nor -1")
    if not memory.swap:
        return -1 if memory.limit == -1 else None
    if memory.swap == -1 or memory.limit == -1:
        return memory.swap
    if not memory.limit:
        if may_lack_limit:
            return None
        raise SpecError(f"{_PATH}.swap", "needs memory.limit, because it is memory and swap together")
    if memory.swap < memory.limit:
        raise SpecError(
            f"{_PATH}.swap",
            f"{memory.swap} is less than memory.limit {memory.limit}, but it is memory and swap together",
            hint="the same value as memory.limit means no swap",
        )
    return memory.swap - memory.limit


def _refuse_what_v2_lacks(memory: Memory) -> None:
    """Raise HostError for limits that cgroup v2 has no file for. Source: config-linux.md "MUST generate an error"."""
    for name, given, hint in (
        ("kernel", memory.kernel not in (None, 0, -1), "memory.limit counts kernel memory too"),
        ("kernelTCP", memory.kernel_tcp not in (None, 0, -1), "memory.limit counts socket buffers too"),
        ("swappiness", memory.swappiness is not None, "vm.swappiness is one for the whole host"),
        ("disableOOMKiller", memory.disable_oom_killer, "unified memory.high throttles instead of killing"),
        ("useHierarchy", memory.use_hierarchy is False, "usage always counts what is below"),
    ):
        if given:
            raise HostError(f"memory.{name}: cgroup v2 cannot do it", requirement="cgroup v1: memory", hint=hint)


def _max(value: int) -> str:
    return "max" if value == -1 else str(value)


def _setting(file: str, value: str, key: str, *, optional: bool = False) -> Setting:
    return Setting("memory", file, value, f"{_PATH}.{key}", optional=optional)
