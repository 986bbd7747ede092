"""Talks to CRIU: one child ``criu swrk FD`` per command, messages over a SEQPACKET socket.

::

    us                                         criu swrk 3
     | ------- VERSION (keep open) ----------> |
     | <------ version ----------------------- |
     | ------- DUMP | PRE_DUMP | RESTORE ----> |
     | <------ NOTIFY script [pid] [fd] ------ |  any number of times: the step is done when we say so
     | ------- NOTIFY success ---------------> |
     | <------ success, or an error ---------- |  it ends

Of descriptors in a request CRIU opens those of directories through our /proc/PID/fd, and takes those to inherit from
its own table. Names and numbers of fields are those of CRIU's images/rpc.proto.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

from pycontain.errors import HostError
from pycontain.kernel import _sys
from pycontain.kernel.constants import SOCK_SEQPACKET, WEXITED
from pycontain.oci.wire import BOOLEAN, MESSAGE, TEXT, Field, Type, decode, encode
from pycontain.runtime import init, journal, processes
from pycontain.runtime.journal import Journal

MAX_MESSAGE = 64 * 1024
SOCKET = 3  # the first descriptor behind standard error
#: cgroup v2's freezer, external pid namespaces, the notification that pages can be served
OLDEST = 31500
NEEDED = "checkpoint and restore need CRIU 3.15 or later"

DUMP, RESTORE, CHECK, PRE_DUMP, NOTIFY, FEATURE_CHECK, VERSION = 1, 2, 3, 4, 6, 9, 10
CGROUP_MODES = {"ignore": 0, "none": 1, "props": 2, "soft": 3, "full": 4, "strict": 5}
NETWORK_LOCKS = {"iptables": 1, "nftables": 2, "skip": 3}

_PAIR: Type = {"key": Field(1, TEXT), "val": Field(2, TEXT)}
_INHERITED: Type = {"key": Field(1, TEXT), "fd": Field(2)}
_CGROUP_ROOT: Type = {"ctrl": Field(1, TEXT), "path": Field(2, TEXT)}
_JOINED: Type = {"ns": Field(1, TEXT), "ns_file": Field(2, TEXT)}
_PAGE_SERVER: Type = {"address": Field(1, TEXT), "port": Field(2)}
_FEATURES: Type = {"mem_track": Field(1, BOOLEAN), "lazy_pages": Field(2, BOOLEAN)}
_OPTIONS: Type = {
    "images_dir_fd": Field(1),
    "pid": Field(2),
    "leave_running": Field(3, BOOLEAN),
    "ext_unix_sk": Field(4, BOOLEAN),
    "tcp_established": Field(5, BOOLEAN),
    "evasive_devices": Field(6, BOOLEAN),
    "shell_job": Field(7, BOOLEAN),
    "file_locks": Field(8, BOOLEAN),
    "log_level": Field(9),
    "log_file": Field(10, TEXT),
    "ps": Field(11, MESSAGE, _PAGE_SERVER),
    "notify_scripts": Field(12, BOOLEAN),
    "root": Field(13, TEXT),
    "parent_img": Field(14, TEXT),
    "track_mem": Field(15, BOOLEAN),
    "auto_dedup": Field(16, BOOLEAN),
    "work_dir_fd": Field(17),
    "link_remap": Field(18, BOOLEAN),
    "ext_mnt": Field(23, MESSAGE, _PAIR, many=True),
    "manage_cgroups": Field(24, BOOLEAN),
    "cg_root": Field(25, MESSAGE, _CGROUP_ROOT, many=True),
    "rst_sibling": Field(26, BOOLEAN),
    "inherit_fd": Field(27, MESSAGE, _INHERITED, many=True),
    "manage_cgroups_mode": Field(34),
    "external": Field(37, TEXT, many=True),
    "empty_ns": Field(38),
    "join_ns": Field(39, MESSAGE, _JOINED, many=True),
    "freeze_cgroup": Field(44, TEXT),
    "tcp_skip_in_flight": Field(46, BOOLEAN),
    "lazy_pages": Field(48, BOOLEAN),
    "orphan_pts_master": Field(50, BOOLEAN),
    "config_file": Field(51, TEXT),
    "tcp_close": Field(52, BOOLEAN),
    "lsm_profile": Field(53, TEXT),
    "lsm_mount_context": Field(63, TEXT),
    "network_lock": Field(64),
    "mntns_compat_mode": Field(65, BOOLEAN),
}
REQUEST: Type = {
    "type": Field(1),
    "opts": Field(2, MESSAGE, _OPTIONS),
    "notify_success": Field(3, BOOLEAN),
    "keep_open": Field(4, BOOLEAN),
    "features": Field(5, MESSAGE, _FEATURES),
}
RESPONSE: Type = {
    "type": Field(1),
    "success": Field(2, BOOLEAN),
    "restore": Field(4, MESSAGE, {"pid": Field(1)}),
    "notify": Field(5, MESSAGE, {"script": Field(1, TEXT), "pid": Field(2)}),
    "cr_errno": Field(7),
    "features": Field(8, MESSAGE, _FEATURES),
    "cr_errmsg": Field(9, TEXT),
    "version": Field(10, MESSAGE, {"major_number": Field(1), "minor_number": Field(2), "sublevel": Field(4)}),
}

#: What is done at one of CRIU's notifications: it gets the process id that comes with it, 0 without, and descriptors.
Reaction = Callable[[int, tuple[int, ...]], None]


class Refused(Exception):
    """CRIU did not do what it was asked for; ``number`` is an errno or 0, the text its own, which may be empty."""

    def __init__(self, text: str, number: int = 0) -> None:
        super().__init__(text)
        self.number = number


def find(program: str) -> str:
    """Return the path of CRIU's program; ``program`` may be a name to look for in PATH.

    Raises:
        HostError: it is not installed.
    """
    places = os.environ.get("PATH", os.defpath).split(":")
    for path in [program] if "/" in program else [f"{place}/{program}" for place in places if place]:
        if os.access(path, os.X_OK) and not os.path.isdir(path):
            return path
    raise HostError(
        f"{program} is not installed: {NEEDED}, for example apt-get install criu, or --criu FILE", requirement="criu"
    )


class Criu:
    """One CRIU that waits for requests; use as a context manager, at whose end it has ended.

    ``fds`` become its descriptors 0, 1, 2 and, from the fourth one on, 4 and so on. It is put into the cgroup of
    ``cgroup_fd`` (-1: none) and those whose ``tasks`` files ``join_fds`` are. With ``journal`` it is noted there before
    it runs. ``apart``: what the terminal sends to our process group must not reach it.
    """

    def __init__(
        self,
        program: str,
        fds: Sequence[int] = (0, 1, 2),
        *,
        cgroup_fd: int = -1,
        join_fds: Sequence[int] = (),
        journal: Journal | None = None,
        apart: bool = False,
    ) -> None:
        self.pid = 0
        self._path = find(program)
        self._fds = tuple(fds)
        self._cgroup_fd = cgroup_fd
        self._join_fds = tuple(join_fds)
        self._journal = journal
        self._apart = apart
        self._socket = -1
        self._pidfd = -1

    def __enter__(self) -> Criu:
        ours, theirs = _sys.socketpair(SOCK_SEQPACKET)
        waits, go = os.pipe()
        try:
            self.pid, self._pidfd = _sys.clone3(0, self._cgroup_fd)
            if self.pid == 0:
                self._become(theirs, waits, go)
        except BaseException:
            for fd in (ours, go):
                os.close(fd)
            raise
        finally:
            for fd in (theirs, waits):
                os.close(fd)
        self._socket = ours
        try:
            if self._journal is not None:
                self._journal.intend(journal.PROCESS, str(self.pid), str(processes.start_time(self.pid) or 0))
            os.write(go, b"\0")
        except BaseException:
            os.close(go)
            self.close()
            raise
        os.close(go)
        try:
            self._check_version()
        except BaseException:
            self.close()
            raise
        return self

    def _become(self, socket: int, waits: int, go: int) -> NoReturn:
        """In the child: become CRIU once our parent says so."""
        try:
            os.close(go)
            if not os.read(waits, 1):
                os._exit(1)
            for fd in self._join_fds:
                os.write(fd, b"0")
            if self._apart:
                os.setpgid(0, 0)
            given = (*self._fds[:3], socket, *self._fds[3:])
            # above every number that is to be theirs
            free = max(max(given) + 1, len(given))
            for number, fd in enumerate(given):
                os.dup2(fd, free + number)
            for number in range(len(given)):
                os.dup2(free + number, number, inheritable=True)
            init.close_others(range(len(given)))
            for number in (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT):
                signal.signal(number, signal.SIG_DFL)
            os.execv(self._path, (self._path, "swrk", str(SOCKET)))
        finally:
            os._exit(127)

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Let CRIU end: it undoes what it has begun when nobody listens any more."""
        if self._socket >= 0:
            os.close(self._socket)
            self._socket = -1
        if self._pidfd >= 0:
            _sys.waitid_pidfd(self._pidfd, WEXITED)
            os.close(self._pidfd)
            self._pidfd = -1

    def _check_version(self) -> None:
        try:
            found = self.ask(VERSION, keep_open=True).get("version", {})
        except Refused:
            raise HostError(f"{self._path} does not answer: {NEEDED}", requirement="criu") from None
        major, minor, sub = (found.get(name, 0) for name in ("major_number", "minor_number", "sublevel"))
        if major * 10000 + minor * 100 + sub < OLDEST:
            raise HostError(f"{self._path} is version {major}.{minor}.{sub}: {NEEDED}", requirement="criu")

    def require(self, feature: str) -> None:
        """Raise HostError if CRIU, or this kernel, lacks a feature of pages: "mem_track" or "lazy_pages"."""
        found = self.ask(FEATURE_CHECK, features={feature: True}, keep_open=True)
        if not found.get("features", {}).get(feature):
            raise HostError(f"this kernel or CRIU lacks {feature}: criu check --feature {feature}", requirement="criu")

    def ask(self, kind: int, reactions: Mapping[str, Reaction] | None = None, **request: Any) -> dict[str, Any]:
        """Send a request, do what its notifications call for, and return the response.

        Raises:
            Refused: CRIU failed or has gone.
            BaseException: whatever a reaction raised; CRIU has undone its part then.
        """
        failed: BaseException | None = None
        self._send({"type": kind, **request})
        while True:
            response, fds = self._receive(failed)
            if response.get("type") != NOTIFY:
                if failed is not None:
                    raise failed
                if not response.get("success"):
                    raise Refused(response.get("cr_errmsg", ""), response.get("cr_errno", 0))
                return response
            notify = response.get("notify", {})
            reaction = (reactions or {}).get(notify.get("script", ""))
            try:
                if reaction is not None and failed is None:
                    reaction(notify.get("pid", 0), fds)
            except BaseException as error:
                failed = error
            finally:
                for fd in fds:
                    os.close(fd)
            self._send({"type": NOTIFY, "notify_success": failed is None})

    def _send(self, request: dict[str, Any]) -> None:
        try:
            _sys.sendmsg(self._socket, encode(REQUEST, request))
        except (BrokenPipeError, ConnectionResetError):
            pass  # the answer, its end, tells

    def _receive(self, failed: BaseException | None) -> tuple[dict[str, Any], tuple[int, ...]]:
        try:
            data, fds, _ = _sys.recvmsg(self._socket, MAX_MESSAGE, 1)
            if data:
                return decode(RESPONSE, data), fds
        except ConnectionResetError:
            pass
        except ValueError as error:
            raise Refused(f"criu said what is no message: {error}") from error
        if failed is not None:
            raise failed
        raise Refused("criu has ended before its time")
