"""Waiting for an answer of a process that may be kept from giving one."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from pycontain.errors import StageError
from pycontain.runtime import processes


@pytest.fixture
def answer(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[int, int]]:
    """Yield both ends of a pipe, and make the time short that a process may be stopped."""
    monkeypatch.setattr(processes, "_LOOK_EVERY_MS", 10)
    monkeypatch.setattr(processes, "_STOPPED_MS", 50)
    ends = os.pipe()
    yield ends
    for fd in ends:
        os.close(fd)


def test_a_process_that_is_frozen_is_not_waited_for(answer: tuple[int, int]) -> None:
    with pytest.raises(StageError, match="stopped before its program began"):
        processes.await_answer(answer[0], os.getpid(), lambda: True)


def test_a_process_that_runs_again_is_waited_for(answer: tuple[int, int]) -> None:
    looks = [True, True, True, False, True, True, True, False]

    def is_frozen() -> bool:
        frozen = looks.pop(0)
        if not looks:
            os.write(answer[1], b"x")
        return frozen

    processes.await_answer(answer[0], os.getpid(), is_frozen)
    assert os.read(answer[0], 1) == b"x"
