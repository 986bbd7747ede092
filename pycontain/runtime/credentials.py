"""The last changes of the process to itself: directory, limits, labels, ids and capabilities; then finish()."""

from __future__ import annotations

import errno
import os
import stat

from pycontain.errors import ExecError, SpecError, StageError
from pycontain.kernel import _sys
from pycontain.kernel.constants import (
    FINISH_CAPABILITIES,
    FINISH_CLOSE,
    FINISH_SECCOMP,
    FINISH_SIGNALS,
    PR_CAP_AMBIENT,
    PR_CAP_AMBIENT_CLEAR_ALL,
    PR_CAP_AMBIENT_RAISE,
    PR_CAPBSET_DROP,
    PR_CAPBSET_READ,
    PR_SET_DUMPABLE,
    PR_SET_KEEPCAPS,
    PR_SET_NO_NEW_PRIVS,
    SIGKILL,
)
from pycontain.plan.capabilities import SYS_ADMIN
from pycontain.plan.process import RLIMITS
from pycontain.runtime.scheduling import settle

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from pycontain.plan.process import ProcessPlan

CAPABILITIES = 64
_LARGEST_PASSWD = 1 << 20
_FINISH_STEPS = {
    FINISH_SIGNALS: "reset signals",
    FINISH_CLOSE: "close descriptors",
    FINISH_SECCOMP: "load the seccomp filter",
    FINISH_CAPABILITIES: "drop capabilities under the seccomp filter",
}


def become(process: ProcessPlan, procfs: int | None) -> None:
    """Take on the container's directory, labels, user and capabilities.

    ``procfs`` is a private procfs for the labels of AppArmor and SELinux, None where there are none to set.

    Raises:
        SpecError, StageError: what cannot be taken on.
    """
    entered = _enter_directory(process.cwd)
    os.umask(0o022 if process.umask is None else process.umask)
    if procfs is not None:
        _label(process, procfs)
    _change_ids(process)
    if not entered:
        _enter_as_user(process.cwd)
    settle(process.scheduling)
    if process.no_new_privileges:
        _sys.prctl(PR_SET_NO_NEW_PRIVS, 1)


def find_program(process: ProcessPlan) -> None:
    """Look for the program as finish() will.

    Raises:
        ExecError: there is none, or it may not be executed; it may still turn out to be no program.
    """
    number, step = errno.ENOENT, 0
    for index, path in enumerate(process.paths):
        try:
            status = os.stat(path)
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.EACCES):
                raise exec_error(process.argv[0], process.paths, error.errno or 0, index) from error
            refused = error.errno == errno.EACCES
        else:
            if stat.S_ISREG(status.st_mode) and os.access(path, os.X_OK):
                return
            refused = True
        if refused:
            number, step = errno.EACCES, index
    raise exec_error(process.argv[0], process.paths, number, step)


def finish(process: ProcessPlan, channel_fd: int, *, tied: bool) -> NoReturn:
    """Execute the program; on failure the channel gets the reason and the process exits.

    The number of descriptors is limited here: everything before needs some.
    """
    for resource, soft, hard in process.rlimits:
        if resource == RLIMITS["RLIMIT_NOFILE"]:
            _sys.prlimit(0, resource, soft, hard)
    keep = tuple(range(3, 3 + process.preserve_fds))
    env = environment(process)
    if process.listen_fds:
        env = _with_listen_fds(env, process.listen_fds)
    _sys.finish(
        [os.fsencode(word) for word in process.argv],
        [os.fsencode(word) for word in env],
        [os.fsencode(path) for path in process.paths],
        keep,
        channel_fd,
        process.seccomp,
        process.seccomp_flags,
        SIGKILL if tied else 0,
        lowered_late(process),
    )


def environment(process: ProcessPlan) -> tuple[str, ...]:
    """Return the environment of the container's programs."""
    return process.env if _has_home(process.env) else (*process.env, f"HOME={home_of(process.uid)}")


def lowered_late(process: ProcessPlan) -> tuple[int, int, int] | None:
    """Return the capabilities to keep once the filter is loaded, None where :func:`become` has done all there is."""
    if process.no_new_privileges or process.seccomp is None:
        return None
    sets = process.capabilities
    return sets.effective, sets.permitted, sets.inheritable


def _with_listen_fds(env: tuple[str, ...], count: int) -> tuple[str, ...]:
    others = tuple(entry for entry in env if not entry.startswith(("LISTEN_FDS=", "LISTEN_PID=")))
    # the id that the program has where it runs, and only now is known
    return (*others, f"LISTEN_FDS={count}", f"LISTEN_PID={os.getpid()}")


def _has_home(env: tuple[str, ...]) -> bool:
    return any(entry.startswith("HOME=") and entry != "HOME=" for entry in env)


def home_of(uid: int) -> str:
    """Return the home directory of a user, from the container's /etc/passwd; "/" where it says nothing.

    The file is the container's: what is no ordinary file, or larger than any such file, is not read.
    """
    try:
        fd = os.open("/etc/passwd", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return "/"
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode) or status.st_size > _LARGEST_PASSWD:
            return "/"
        data = os.read(fd, _LARGEST_PASSWD)
    except OSError:
        return "/"
    finally:
        os.close(fd)
    for line in data.decode("utf-8", "surrogateescape").splitlines():
        fields = line.split(":")
        if len(fields) == 7 and fields[2] == str(uid) and fields[5].startswith("/"):
            return fields[5]
    return "/"


def exec_error(program: str, paths: tuple[str, ...], number: int, step: int) -> ExecError:
    """Return the error for finish()'s record: errno, and the index of the path or a negative step.

    The texts follow docker's, which programs match on; the exit codes are those of shells: 127 not found, 126 else.
    """
    if step < 0 or step >= len(paths):
        what = _FINISH_STEPS.get(step, "finish")
        hint = "without no-new-privileges the profile must allow capset" if step == FINISH_CAPABILITIES else ""
        return ExecError(f"{what}: {os.strerror(number).lower()}", hint=hint)
    path = paths[step]
    if number in (errno.ENOENT, errno.ENOTDIR):
        if "/" not in program:
            where = ", ".join(candidate.rpartition("/")[0] for candidate in paths)
            return ExecError(
                f"{program or repr(program)}: executable file not found in $PATH",
                hint=f"looked in {where}",
                exit_code=127,
            )
        return ExecError(
            f"{program}: no such file or directory",
            hint="if the file is there, its interpreter (#! line or dynamic loader) is missing in the container",
            exit_code=127,
        )
    hints = {
        errno.EACCES: f"is {path} a file with the x bit for this user, on a mount without noexec?",
        errno.ENOEXEC: "neither a binary for this machine nor a script with a #! line",
        errno.EPERM: "no-new-privileges, a label or the seccomp profile forbids it",
    }
    text = "exec format error" if number == errno.ENOEXEC else os.strerror(number).lower()
    return ExecError(f"{program}: {text}", hint=hints.get(number, ""))


def _enter_directory(path: str) -> bool:
    """Change to a directory, making what is missing; return False where only its user may enter it."""
    try:
        os.chdir(path)
    except PermissionError:
        return False
    except FileNotFoundError:
        try:
            _make_directories(path)
            os.chdir(path)
        except OSError as error:
            raise _bad_directory(path, error) from error
    except OSError as error:
        raise _bad_directory(path, error) from error
    _check_inside(path)
    return True


def _enter_as_user(path: str) -> None:
    try:
        os.chdir(path)
    except OSError as error:
        raise _bad_directory(path, error) from error
    _check_inside(path)


def _check_inside(path: str) -> None:
    # A directory outside the root, as /proc/self/fd/7 may be, has no name here (the way of CVE-2024-21626): the kernel
    # says "(unreachable)", of which glibc makes an error, and other libraries may not. Source: getcwd(3)
    try:
        inside = os.getcwd().startswith("/")
    except FileNotFoundError:
        inside = False
    if not inside:
        raise SpecError("process.cwd", f"{path} lies outside the container's root")


def _bad_directory(path: str, error: OSError) -> SpecError:
    return SpecError(
        "process.cwd", f"{path}: {(error.strerror or '').lower()}", hint="it must be one that this user may enter"
    )


def _make_directories(path: str) -> None:
    for end in range(1, len(path) + 1):
        if end == len(path) or path[end] == "/":
            try:
                os.mkdir(path[:end], 0o755)
            except FileExistsError:
                pass


_LABEL_HINTS = {
    errno.ENOENT: "there is no such profile, or this host has no AppArmor",
    errno.EINVAL: "this host has no SELinux, or its policy has no such label",
    errno.EACCES: "the policy of this host does not let the runtime give this label",
}


def _label(process: ProcessPlan, procfs: int) -> None:
    for what, file, label in (
        ("process.apparmorProfile", "attr/apparmor/exec", process.apparmor and f"exec {process.apparmor}"),
        ("process.selinuxLabel", "attr/exec", process.selinux),
    ):
        if not label:
            continue
        try:
            fd = os.open(f"thread-self/{file}", os.O_WRONLY | os.O_CLOEXEC, dir_fd=procfs)
            try:
                os.write(fd, label.encode())
            finally:
                os.close(fd)
        except OSError as error:
            hint = _LABEL_HINTS.get(error.errno or 0, "")
            raise SpecError(what, f"{label!r} cannot be set: {(error.strerror or '').lower()}", hint=hint) from error


def _change_ids(process: ProcessPlan) -> None:
    """Drop the bounding set, change ids, set all five capability sets: in this order each step is still allowed."""
    sets = process.capabilities
    for number in range(CAPABILITIES):
        if not sets.bounding >> number & 1:
            try:
                if _sys.prctl(PR_CAPBSET_READ, number) == 1:
                    _sys.prctl(PR_CAPBSET_DROP, number)
            except OSError as error:
                if error.errno != errno.EINVAL:
                    raise
                break  # the first number that this kernel does not know
    _sys.prctl(PR_SET_KEEPCAPS, 1)
    try:
        if process.groups is not None:
            os.setgroups(process.groups)
        os.setresgid(process.gid, process.gid, process.gid)
        os.setresuid(process.uid, process.uid, process.uid)
    except OSError as error:
        raise StageError(
            f"user {process.uid}:{process.gid}: {(error.strerror or '').lower()}",
            hint="the ids are not mapped in the container's user namespace: give a larger range",
            stage="init",
            spec_path="process.user",
            errno=error.errno or 0,
        ) from error
    _sys.prctl(PR_SET_KEEPCAPS, 0)
    # Without no_new_privs a filter needs CAP_SYS_ADMIN to be loaded: finish() takes it away after that.
    extra = 0 if lowered_late(process) is None else 1 << SYS_ADMIN
    _sys.capset(sets.effective | extra, sets.permitted | extra, sets.inheritable)
    _sys.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL)
    for number in range(CAPABILITIES):
        if sets.ambient >> number & 1:
            _sys.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, number)
    _sys.prctl(PR_SET_DUMPABLE, 0)
