"""Messages with descriptors, listening sockets with a mode, long paths."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from pycontain.kernel import _sys
from pycontain.kernel import constants as c


@pytest.fixture
def pair() -> Iterator[tuple[int, int]]:
    left, right = _sys.socketpair(c.SOCK_SEQPACKET)
    yield left, right
    for fd in (left, right):
        with contextlib.suppress(OSError):  # a test may have closed it to see the other end's view
            os.close(fd)


def test_descriptors_travel_with_data_and_are_not_inherited(pair: tuple[int, int]) -> None:
    reader, writer = os.pipe()
    assert _sys.sendmsg(pair[0], b"two", fds=(reader, writer)) == 3
    data, fds, flags = _sys.recvmsg(pair[1], 100, maxfds=4)
    assert (data, len(fds), flags & c.MSG_CTRUNC) == (b"two", 2, 0)
    os.write(fds[1], b"x")
    assert os.read(reader, 1) == b"x"
    assert [os.get_inheritable(fd) for fd in fds] == [False, False]
    for fd in (reader, writer, *fds):
        os.close(fd)


def test_more_descriptors_than_expected_are_dropped_with_a_flag(pair: tuple[int, int]) -> None:
    before = len(os.listdir("/proc/self/fd"))
    _sys.sendmsg(pair[0], b"x", fds=[0] * 5)
    _, fds, flags = _sys.recvmsg(pair[1], 10, maxfds=0)
    assert fds == ()
    assert flags & c.MSG_CTRUNC
    assert len(os.listdir("/proc/self/fd")) == before


def test_253_descriptors_are_the_most(pair: tuple[int, int]) -> None:
    _sys.sendmsg(pair[0], b"x", fds=[0] * 253)
    _, fds, _ = _sys.recvmsg(pair[1], 10, maxfds=253)
    assert len(fds) == 253
    for fd in fds:
        os.close(fd)
    with pytest.raises(ValueError, match="254"):
        _sys.sendmsg(pair[0], b"x", fds=[0] * 254)


def test_a_message_keeps_its_borders_and_tells_what_was_cut(pair: tuple[int, int]) -> None:
    _sys.sendmsg(pair[0], b"first")
    _sys.sendmsg(pair[0], b"second")
    assert _sys.recvmsg(pair[1], 3)[0] == b"fir"
    data, _, flags = _sys.recvmsg(pair[1], 3, flags=c.MSG_TRUNC)
    assert data == b"sec"
    assert flags & c.MSG_TRUNC


def test_closed_peer_is_the_end_for_reading_and_an_error_for_writing(pair: tuple[int, int]) -> None:
    os.close(pair[1])
    assert _sys.recvmsg(pair[0], 10)[0] == b""
    with pytest.raises(BrokenPipeError):
        _sys.sendmsg(pair[0], b"x")


def test_receiving_without_waiting(pair: tuple[int, int]) -> None:
    with pytest.raises(BlockingIOError) as caught:
        _sys.recvmsg(pair[0], 10, flags=c.MSG_DONTWAIT)
    assert caught.value.filename == f"recvmsg({pair[0]}, 10)"


@pytest.mark.parametrize("folder", ["short", "l" * 90 + "/" + "o" * 90])
def test_listen_connect_accept(tmp_path: Path, folder: str) -> None:
    path = tmp_path / folder / "control.sock"
    path.parent.mkdir(parents=True)
    listener = _sys.unix_listen(path, c.SOCK_SEQPACKET, 5, 0o600)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    client = _sys.unix_connect(str(path), c.SOCK_SEQPACKET)
    server = _sys.unix_accept(listener)
    _sys.sendmsg(client, b"hello")
    assert _sys.recvmsg(server, 10)[0] == b"hello"
    assert _sys.peer_credentials(server) == (os.getpid(), os.getuid(), os.getgid())
    assert [os.get_inheritable(fd) for fd in (listener, client, server)] == [False] * 3
    for fd in (listener, client, server):
        os.close(fd)


def test_failures_leave_no_descriptor(tmp_path: Path) -> None:
    before = os.listdir("/proc/self/fd")
    long_name = tmp_path / ("n" * 120)
    for attempt in (
        lambda: _sys.unix_connect(tmp_path / "nobody", c.SOCK_STREAM),
        lambda: _sys.unix_connect(tmp_path / ("d" * 100) / "s", c.SOCK_STREAM),
        lambda: _sys.unix_listen(long_name, c.SOCK_STREAM, 1, 0o600),
        lambda: _sys.unix_listen(tmp_path, c.SOCK_STREAM, 1, 0o600),
    ):
        with pytest.raises(OSError, match=str(tmp_path)):
            attempt()
    assert os.listdir("/proc/self/fd") == before
