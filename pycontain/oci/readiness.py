"""Hands on to systemd what a container says to it: NOTIFY_SOCKET of sd_notify(3).

The program gets a socket of the container's own, in a directory that is mounted at /run/notify. Whoever starts the
container listens there until it says that it is ready, and tells the socket that NOTIFY_SOCKET names, with the
program's process id as the host knows it.
"""

from __future__ import annotations

import _signal
import os
import socket

from pycontain.errors import HostError
from pycontain.kernel import _sys
from pycontain.kernel.constants import PR_SET_PDEATHSIG, SIGKILL
from pycontain.oci.log import Log
from pycontain.oci.store import Container, State
from pycontain.runtime import processes
from pycontain.runtime.init import close_others
from pycontain.spec.mounts import Mount
from pycontain.spec.runtime import Spec

VARIABLE = "NOTIFY_SOCKET"
DIRECTORY, SOCKET = "notify", "notify.sock"
INSIDE = "/run/notify"
_LOOK_S = 0.1
_MAX_MESSAGE = 64 * 1024


def offer(container: Container, spec: Spec) -> Spec:
    """Make the directory of the socket, and return the configuration with it.

    Raises:
        HostError: the container has no mounts of its own.
    """
    if spec.linux.namespace("mount") is None:
        raise HostError(
            f"{VARIABLE}: without a mount namespace the container cannot be given a socket of its own",
            hint=f"start it without {VARIABLE} in the environment",
        )
    directory = f"{container.directory}/{DIRECTORY}"
    os.mkdir(directory, 0o755)
    os.chmod(directory, 0o755)
    mount = Mount(INSIDE, "bind", directory, ("bind", "nosuid", "noexec", "nodev", "ro"))
    process = spec.process
    assert process is not None, "bundle.load has seen to it"
    env = (*(entry for entry in process.env if not entry.startswith(f"{VARIABLE}=")), f"{VARIABLE}={INSIDE}/{SOCKET}")
    return spec.replace(mounts=(*spec.mounts, mount), process=process.replace(env=env))


class Readiness:
    """Listens at a container's socket; use as a context manager.

    It is no listener at all where nobody asked for one when the container was made, or asks now.
    """

    def __init__(self, container: Container) -> None:
        self._target = os.environ.get(VARIABLE, "")
        self._socket: socket.socket | None = None
        path = f"{container.directory}/{DIRECTORY}"
        if self._target and os.path.isdir(path):
            self._listen(path)

    def _listen(self, directory: str) -> None:
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        fd = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        # the directory's own path may be longer than an address can be
        path = f"/proc/self/fd/{fd}/{SOCKET}"
        try:
            if os.path.lexists(path):
                os.unlink(path)
            listening.bind(path)
            os.chmod(path, 0o777)
        except OSError as error:
            listening.close()
            raise HostError(f"{VARIABLE}: {(error.strerror or '').lower()}") from error
        finally:
            os.close(fd)
        self._socket = listening

    def __enter__(self) -> Readiness:
        return self

    def __exit__(self, *_exc: object) -> None:
        if self._socket is not None:
            self._socket.close()

    def wait(self, state: State) -> None:
        """Return when the container has said that it is ready, and systemd knows, or when it has ended."""
        if self._socket is None:
            return
        self._socket.settimeout(_LOOK_S)
        while processes.is_alive(state.pid, state.pid_start):
            try:
                said = self._socket.recv(_MAX_MESSAGE)
            except TimeoutError:
                continue
            if b"READY=1" in said.split(b"\n"):
                self._tell(f"MAINPID={state.pid}\nREADY=1\n")
                return

    def wait_beside(self, state: State, log: Log) -> None:
        """Do as :meth:`wait` in a process of its own: this one has a container to attend to.

        It ends with this one at the latest; what fails in it is a warning.
        """
        if self._socket is None:
            return
        parent = os.getpid()
        if os.fork():
            return
        code = 1
        try:
            _sys.prctl(PR_SET_PDEATHSIG, SIGKILL)
            _signal.pthread_sigmask(_signal.SIG_SETMASK, ())
            # a terminal and other descriptors end for the container when this process's parent closes them
            close_others((self._socket.fileno(), log.fd))
            if os.getppid() == parent:
                self.wait(state)
            code = 0
        except Exception as error:
            log.warning(str(error))
        finally:
            os._exit(code)

    def _tell(self, text: str) -> None:
        address = f"\0{self._target[1:]}" if self._target.startswith("@") else self._target
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as telling:
            try:
                telling.sendto(text.encode(), address)
            except OSError as error:
                raise HostError(f"{VARIABLE} {self._target}: {(error.strerror or '').lower()}") from error
