"""The limit of swap that -m implies is left out where the kernel does not count swap, and only that one."""

from __future__ import annotations

from pathlib import Path

import pytest

from pycontain.cgroups.cgroup import Cgroup, CgroupPaths
from pycontain.cgroups.controllers import memory
from pycontain.engine import swaplimit
from pycontain.engine.limits import parse_limits
from pycontain.engine.resources import linux_resources
from pycontain.spec.resources import LinuxResources

RESOURCES = linux_resources(parse_limits({"memory": "64m"}), {})


def cgroup_with(directory: Path, generation: int, *files: str) -> Cgroup:
    """Return a cgroup whose interface files are ordinary ones."""
    for file in files:
        (directory / file).write_text("max\n")
    path = str(directory)
    return Cgroup(CgroupPaths(v1={"memory": path}) if generation == 1 else CgroupPaths(unified=path))


@pytest.mark.parametrize(
    ("generation", "compiled", "file"),
    [(1, memory.v1(RESOURCES), "memory.memsw.limit_in_bytes"), (2, memory.v2(RESOURCES), "memory.swap.max")],
)
def test_what_the_kernel_lacks_is_seen(tmp_path: Path, generation: int, compiled: tuple, file: str) -> None:  # type: ignore[type-arg]
    assert file in [one.file for one in compiled]
    with cgroup_with(tmp_path, generation, "memory.max") as lacking:
        assert swaplimit.uncounted(lacking, compiled)
        assert not swaplimit.uncounted(lacking, swaplimit.without(compiled))
    with cgroup_with(tmp_path, generation, file) as counting:
        assert not swaplimit.uncounted(counting, compiled)
    assert len(swaplimit.without(compiled)) == len(compiled) - 1
    assert file not in [one.file for one in swaplimit.without(compiled)]


@pytest.mark.parametrize(
    ("words", "implied"),
    [
        ({"memory": "64m"}, True),
        ({"memory": "64m", "memory-swap": "128m"}, False),
        ({"memory": "64m", "memory-swap": "-1"}, False),
        ({"memory-reservation": "64m"}, False),
        ({}, False),
    ],
)
def test_what_was_said_is_not_implied(words: dict[str, str], implied: bool) -> None:
    assert swaplimit.is_implied(parse_limits(words).asdict()) is implied


def test_only_the_limit_of_swap_is_taken_away() -> None:
    assert RESOURCES.memory is not None
    left = swaplimit.without_swap(RESOURCES).memory
    assert left is not None
    assert (left.limit, left.swap) == (64 << 20, None)
    assert swaplimit.without_swap(LinuxResources()) == LinuxResources()
