"""Pseudo-terminals of a devpts instance that no path leads to."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from pycontain.kernel import _sys

InChild = Callable[..., object]


def test_pair_of_a_detached_devpts(in_mount_namespace: InChild) -> None:
    def pair() -> list[object]:
        context = _sys.fsopen("devpts")
        _sys.fsconfig_set_string(context, "ptmxmode", "0666")
        _sys.fsconfig_create(context)
        root = _sys.fsmount(context)
        master, slave = _sys.openpty_at(root)
        _sys.tty_set_size(master, 50, 132)
        os.write(slave, b"out\n")
        names = os.listdir(f"/proc/self/fd/{root}")
        return [names, _sys.tty_get_size(slave), os.read(master, 10), os.get_inheritable(slave)]

    assert in_mount_namespace(pair) == [["0", "ptmx"], (50, 132), b"out\r\n", False]


def test_controlling_terminal(in_child: InChild) -> None:
    def control() -> bool:
        _, slave = os.openpty()
        os.setsid()
        _sys.tty_make_controlling(slave)
        return os.tcgetpgrp(slave) == os.getpid()

    assert in_child(control) is True


def test_no_terminal_is_named() -> None:
    fd = os.open("/dev/null", os.O_RDWR)
    with pytest.raises(OSError, match="Inappropriate ioctl") as caught:
        _sys.tty_get_size(fd)
    assert caught.value.filename == f"ioctl({fd}, TIOCGWINSZ)"
    os.close(fd)


def test_a_directory_without_ptmx(in_child: InChild) -> None:
    def attempt() -> tuple[int, int]:
        return _sys.openpty_at(os.open("/", os.O_RDONLY))

    assert "'ptmx')" in str(in_child(attempt))
