"""What the process that joins namespaces reports."""

from __future__ import annotations

import os
import subprocess

import pytest

from pycontain.errors import HostError, StageError
from pycontain.runtime import entry


def report(pid: int) -> int:
    reading, writing = os.pipe()
    if pid:
        os.write(writing, pid.to_bytes(4, "little"))
    os.close(writing)
    try:
        return entry.read_report(reading)
    finally:
        os.close(reading)


def test_only_a_child_is_taken_for_init() -> None:
    """Whoever is named there is signalled and waited for, and somebody inside might write to the pipe."""
    child = subprocess.Popen(["sleep", "60"])
    try:
        assert report(child.pid) == child.pid
        for stranger in (1, os.getppid(), os.getpid(), 2**22 + 1):
            with pytest.raises(HostError, match=f"process {stranger} was not made"):
                report(stranger)
        with pytest.raises(StageError):
            report(0)
    finally:
        child.kill()
        child.wait()
