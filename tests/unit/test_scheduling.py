"""What a configuration asks of the kernel's schedules, as numbers."""

from __future__ import annotations

from typing import Any

import pytest

from pycontain.errors import SpecError
from pycontain.plan.scheduling import number_mask, of_process, of_spec
from pycontain.spec.decode import decode, decode_process


def process(**changes: Any) -> dict[str, Any]:
    return {"cwd": "/", "args": ["x"], "user": {"uid": 0, "gid": 0}, **changes}


def spec(process: dict[str, Any], **linux: Any) -> Any:
    return decode({"ociVersion": "1.3.0", "root": {"path": "r"}, "process": process, "linux": linux})[0]


def test_scheduler_and_io_priority() -> None:
    scheduler = {
        "policy": "SCHED_DEADLINE",
        "flags": ["SCHED_FLAG_RESET_ON_FORK", "SCHED_FLAG_RECLAIM", "SCHED_FLAG_RECLAIM"],
        "runtime": 1,
        "deadline": 2,
        "period": 3,
    }
    found = of_process(
        decode_process(process(scheduler=scheduler, ioPriority={"class": "IOPRIO_CLASS_BE", "priority": 4}))[0]
    )
    assert found.scheduler == (6, 0, 3, 0, 1, 2, 3)
    assert found.io_priority == 2 << 13 | 4
    assert found.by_maker


def test_the_affinity_of_exec_is_not_for_the_first_process() -> None:
    asked = process(execCPUAffinity={"initial": "0-2,9", "final": "1"})
    found = of_process(decode_process(asked)[0])
    assert (found.first_cpus, found.cpus) == (b"\x07\x02", b"\x02")
    found = of_spec(spec(asked))
    assert (found.first_cpus, found.cpus) == (b"", b"")
    assert not found.by_maker


def test_personality_and_memory_policy() -> None:
    policy = {"mode": "MPOL_INTERLEAVE", "nodes": "3,0-1", "flags": ["MPOL_F_STATIC_NODES"]}
    found = of_spec(spec(process(), personality={"domain": "LINUX32"}, memoryPolicy=policy))
    assert found.personality == 8
    assert found.memory_policy == (3 | 1 << 15, (0, 1, 3))
    with pytest.raises(SpecError, match="no kernel has a node 1024"):
        of_spec(spec(process(), memoryPolicy={**policy, "nodes": "1024"}))


def test_masks() -> None:
    assert number_mask(()) == b""
    assert number_mask((0, 8, 8)) == b"\x01\x01"
