"""Which processors and memory nodes: the same files in both generations. [lean]

In cgroup v1 a new cpuset is empty and takes no process before cpus and mems were copied down to it
(:func:`pycontain.cgroups.tree.inherit_cpuset`).

Source: config-linux.md#cpu; cpuset(7)
"""

from __future__ import annotations

from pycontain.cgroups.setting import Setting
from pycontain.errors import SpecError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pycontain.spec.resources import LinuxResources

_PATH = "linux.resources.cpu"
_MOST = 1 << 16


def v2(resources: LinuxResources) -> tuple[Setting, ...]:
    """Return the settings.

    Raises:
        SpecError: a list is not one.
    """
    cpu = resources.cpu
    if cpu is None:
        return ()
    found = []
    for key, text in (("cpus", cpu.cpus), ("mems", cpu.mems)):
        if text:
            parse_list(text, f"{_PATH}.{key}")
            found.append(Setting("cpuset", f"cpuset.{key}", text, f"{_PATH}.{key}"))
    return tuple(found)


v1 = v2


def parse_list(text: str, path: str) -> set[int]:
    """Return the numbers of a list such as ``0-3,7``.

    Raises:
        SpecError: at ``path``, if it is not such a list.
    """
    numbers: set[int] = set()
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        last = last if dash else first
        if not (first.isdecimal() and last.isdecimal() and int(first) <= int(last) < _MOST):
            raise SpecError(path, f"{text!r} is not a list such as 0-3,7")
        numbers.update(range(int(first), int(last) + 1))
    return numbers
