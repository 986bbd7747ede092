"""clone3 as fork, namespaces, pidfds, waitid."""

from __future__ import annotations

import ctypes
import errno
import os
import signal
import threading
from collections.abc import Callable

import pytest

from pycontain.kernel import _sys
from pycontain.kernel import constants as c

InChild = Callable[..., object]
PR_GET_TID_ADDRESS = 40  # linux/prctl.h
USER = 0 if os.geteuid() == 0 else c.CLONE_NEWUSER


def test_clone3_gives_pid_and_pidfd_in_the_parent() -> None:
    pid, pidfd = _sys.clone3(0)
    if pid == 0:
        os._exit(9)
    assert not os.get_inheritable(pidfd)
    assert _sys.waitid_pidfd(pidfd, c.WEXITED) == (pid, c.CLD_EXITED, 9)
    os.close(pidfd)


def test_clone3_runs_the_fork_handlers_of_the_interpreter(in_child: InChild) -> None:
    def handlers() -> list[str]:
        called: list[str] = []
        os.register_at_fork(
            before=lambda: called.append("before"),
            after_in_parent=lambda: called.append("parent"),
            after_in_child=lambda: called.append("child"),
        )
        pid, pidfd = _sys.clone3(0)
        if pid == 0:
            os._exit(len(called) + 10 * (called == ["before", "child"]))
        ended = _sys.waitid_pidfd(pidfd, c.WEXITED)
        return [*called, str(ended and ended[2])]

    assert in_child(handlers) == ["before", "parent", "12"]


def test_clone3_leaves_threads_usable(in_child: InChild) -> None:
    def threads() -> int:
        thread = threading.Thread(target=lambda: None)
        thread.start()
        thread.join()
        return threading.active_count()

    assert in_child(threads) == 1


def test_clone3_tells_glibc_the_new_thread_id(in_child: InChild) -> None:
    def told_and_true() -> list[int]:
        field = ctypes.c_void_p()
        _sys.prctl(PR_GET_TID_ADDRESS, ctypes.addressof(field))
        return [ctypes.c_int.from_address(field.value or 0).value, threading.get_native_id()]

    answer = in_child(told_and_true)
    if "Invalid argument" in str(answer):
        pytest.skip("the kernel lacks CONFIG_CHECKPOINT_RESTORE")
    assert isinstance(answer, list)
    assert answer[0] == answer[1]


def test_clone3_in_a_new_pid_namespace_is_process_1(in_child: InChild) -> None:
    assert in_child(os.getpid, USER | c.CLONE_NEWPID) == 1


def test_clone3_enters_a_cgroup() -> None:
    with pytest.raises(OSError, match="clone3") as caught:
        _sys.clone3(0, cgroup_fd=os.open("/proc", os.O_RDONLY))
    assert caught.value.errno == errno.EBADF
    assert caught.value.filename.startswith("clone3(0x0, cgroup_fd=")


@pytest.mark.parametrize("flag", [0x100, 0x10000, 0x4000, 0x80000])
def test_clone3_refuses_what_is_no_fork(flag: int) -> None:
    with pytest.raises(ValueError, match="fork"):
        _sys.clone3(flag)


def test_waitid_without_an_event_is_none() -> None:
    reader, writer = os.pipe()
    pid, pidfd = _sys.clone3(0)
    if pid == 0:
        os.close(writer)
        os.read(reader, 1)
        os._exit(0)
    assert _sys.waitid_pidfd(pidfd, c.WEXITED | c.WNOHANG) is None
    _sys.pidfd_send_signal(pidfd, signal.SIGKILL)
    assert _sys.waitid_pidfd(pidfd, c.WEXITED) == (pid, c.CLD_KILLED, signal.SIGKILL)
    for fd in (reader, writer, pidfd):
        os.close(fd)


def wait_with_alarm(pidfd: int) -> None:
    signal.setitimer(signal.ITIMER_REAL, 0.05)
    _sys.waitid_pidfd(pidfd, c.WEXITED)


def test_waitid_lets_a_signal_handler_raise() -> None:
    class Alarmed(Exception):
        pass

    def handler(number: int, frame: object) -> None:
        raise Alarmed

    pid, pidfd = _sys.clone3(0)
    if pid == 0:
        signal.pause()
    before = signal.signal(signal.SIGALRM, handler)
    try:
        with pytest.raises(Alarmed):
            wait_with_alarm(pidfd)
    finally:
        signal.signal(signal.SIGALRM, before)
        _sys.pidfd_send_signal(pidfd, signal.SIGKILL)
        _sys.waitid_pidfd(pidfd, c.WEXITED)
        os.close(pidfd)


def test_pidfd_getfd_copies_a_descriptor() -> None:
    reader, writer = os.pipe()
    pidfd = _sys.pidfd_open(os.getpid())
    copy = _sys.pidfd_getfd(pidfd, reader)
    assert os.fstat(copy).st_ino == os.fstat(reader).st_ino
    assert not os.get_inheritable(copy)
    for fd in (reader, writer, pidfd, copy):
        os.close(fd)


def test_unshare_and_setns_change_the_namespace(in_child: InChild) -> None:
    def there_and_back() -> list[bool]:
        outside = os.open("/proc/self/ns/uts", os.O_RDONLY)
        name = os.readlink("/proc/self/ns/uts")
        _sys.unshare(c.CLONE_NEWUTS)
        inside = os.readlink("/proc/self/ns/uts")
        if os.geteuid() == 0:
            _sys.setns(outside, c.CLONE_NEWUTS)
            return [name != inside, os.readlink("/proc/self/ns/uts") == name]
        return [name != inside, True]

    assert in_child(there_and_back, USER) == [True, True]


def test_ns_type_names_the_namespace() -> None:
    for name, flag in c.NAMESPACES.items():
        if not os.path.exists(f"/proc/self/ns/{name}"):
            continue  # the kernel is built without it
        fd = os.open(f"/proc/self/ns/{name}", os.O_RDONLY)
        assert _sys.ns_type(fd) == flag
        os.close(fd)


def test_close_range_closes() -> None:
    first, second = os.pipe()
    os.dup2(first, 900)
    os.dup2(second, 901)
    _sys.close_range(900, 901)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(900)
    os.close(first)
    os.close(second)


def test_error_shows_call_and_operands() -> None:
    with pytest.raises(ProcessLookupError) as caught:
        _sys.pidfd_open(0x3FFFFFFF)
    assert str(caught.value) == "[Errno 3] No such process: 'pidfd_open(1073741823, 0x0)'"
