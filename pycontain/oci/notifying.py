"""Hands the descriptor of a seccomp filter that notifies to whoever is to answer for the kernel. [lean]

Source: config-linux.md#seccomp, "Container Process State": one connection, one document, the descriptor with its first
bytes, then the end.
"""

from __future__ import annotations

import os
import stat

from pycontain import lean_json
from pycontain.errors import HostError
from pycontain.kernel import _sys
from pycontain.kernel.constants import SECCOMP_FILTER_FLAG_NEW_LISTENER, SOCK_STREAM
from pycontain.spec.state import OCI_VERSION_MAX, HookState

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pycontain.oci.store import Container, State
    from pycontain.spec.seccomp import LinuxSeccomp

PATH = "linux.seccomp.listenerPath"


def check(seccomp: LinuxSeccomp | None, flags: int) -> None:
    """Refuse a listener that is not there, before anything is made; does nothing for a filter that never notifies.

    Raises:
        HostError: there is no socket at the path.
    """
    if seccomp is not None and flags & SECCOMP_FILTER_FLAG_NEW_LISTENER:
        try:
            found = os.stat(seccomp.listener_path)
        except OSError as error:
            raise _failed(seccomp.listener_path, error) from error
        if not stat.S_ISSOCK(found.st_mode):
            raise HostError(f"{PATH}: {seccomp.listener_path} is not a socket")


class Listener:
    """The listener of one process; use as a context manager.

    It is connected before the process is started: one that does not answer stops nothing that already runs. Where the
    filter does not notify, it is nobody.
    """

    def __init__(self, seccomp: LinuxSeccomp | None, flags: int, container: State, *, pid: int, status: str) -> None:
        self._document: dict[str, Any] = {}
        self._socket = -1
        self._path = ""
        if seccomp is None or not flags & SECCOMP_FILTER_FLAG_NEW_LISTENER:
            return
        self._path = seccomp.listener_path
        state = HookState(OCI_VERSION_MAX, container.id, container.bundle, container.annotations)
        self._document = {"ociVersion": OCI_VERSION_MAX, "fds": ["seccompFd"], "pid": pid}
        if seccomp.listener_metadata:
            self._document["metadata"] = seccomp.listener_metadata
        self._document["state"] = state.document(status, container.pid)
        try:
            self._socket = _sys.unix_connect(self._path, SOCK_STREAM)
        except OSError as error:
            raise _failed(self._path, error) from error

    def __enter__(self) -> Listener:
        return self

    def __exit__(self, *_exc: object) -> None:
        if self._socket >= 0:
            os.close(self._socket)
            self._socket = -1

    def send(self, fd: int) -> None:
        """Send the process's state and the descriptor, once.

        Raises:
            HostError: the listener does not take it.
        """
        if self._socket < 0:
            raise HostError("linux.seccomp: the filter notifies, and the configuration names no listener")
        data = lean_json.dumps(self._document, surrogates=True).encode()
        fds: tuple[int, ...] = (fd,)
        try:
            while data:
                data = data[_sys.sendmsg(self._socket, data, fds) :]
                fds = ()
        except OSError as error:
            raise _failed(self._path, error) from error
        self.__exit__()


def saved_listener(container: Container, state: State, *, pid: int, status: str) -> Listener:
    """Return the listener that the configuration of a container names."""
    notifies = state.seccomp_flags & SECCOMP_FILTER_FLAG_NEW_LISTENER
    seccomp = None
    if notifies:
        from pycontain.oci import bundle

        seccomp = bundle.saved(container.directory).linux.seccomp
    return Listener(seccomp, state.seccomp_flags, state, pid=pid, status=status)


def _failed(path: str, error: OSError) -> HostError:
    return HostError(f"{PATH}: {path}: {(error.strerror or '').lower()}")
