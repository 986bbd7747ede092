"""Where this invocation keeps its things and how it talks: one frozen object, passed in.

Directories: ``state`` lies on tmpfs and is lost at reboot, as the containers are; ``data`` holds what may be large
(upper layers, volumes, logs). ``--root DIR`` puts both below one directory.
"""

from __future__ import annotations

import os
import stat

from pycontain.errors import StoreError, UsageError
from pycontain.record import Record

# Claims on ranges of host user ids are host-wide, whatever --root says: one range belongs to one container.
USERNS_CLAIMS = "/run/pycontain/userns"


class Settings(Record):
    """Directories (absolute) and the global options of one invocation."""

    state: str
    data: str
    cgroup_manager: str = "auto"
    log_level: str = "warning"
    log_format: str = "text"
    rootless: bool = False


def load(
    environ: dict[str, str],
    *,
    root: str | None = None,
    cgroup_manager: str = "auto",
    log_level: str = "warning",
    log_format: str = "text",
) -> Settings:
    """Return the settings for this user and these global options.

    Raises:
        UsageError: ``root`` is not usable as a directory, or an ordinary user has neither XDG_RUNTIME_DIR nor HOME.
        StoreError: somebody else could have written what lies there.
    """
    rootless = os.geteuid() != 0
    if root is not None:
        if not root:
            raise UsageError("--root: the directory's name is empty")
        top = os.path.realpath(root)
        if os.path.exists(top) and not os.path.isdir(top):
            raise UsageError(f"--root: {root}: not a directory")
        state, data = f"{top}/state", f"{top}/data"
    elif not rootless:
        state, data = "/run/pycontain", "/var/lib/pycontain"
    else:
        state, data = _user_directories(environ)
    for path in (os.path.dirname(state), state, os.path.dirname(data), data):
        _check_owner(path, environ)
    return Settings(
        state=state,
        data=data,
        cgroup_manager=cgroup_manager,
        log_level=log_level,
        log_format=log_format,
        rootless=rootless,
    )


def _check_owner(path: str, environ: dict[str, str]) -> None:
    """Refuse a directory in which somebody else may write: what a journal names is removed, what a state names is run.

    Root's own directories are everybody's; with sudo those of the caller will do.

    Raises:
        StoreError: it belongs to somebody else, or everybody may change it.
    """
    owners = {0, os.geteuid()}
    if os.geteuid() == 0 and environ.get("SUDO_UID", "").isdigit():
        owners.add(int(environ["SUDO_UID"]))
    try:
        link, status = os.lstat(path), os.stat(path)
    except OSError:
        return  # made later, or an error then
    hint = "choose another place: --root DIR, or set XDG_RUNTIME_DIR"
    for one in (link, status):
        if one.st_uid not in owners:
            raise StoreError(f"{path}: belongs to user {one.st_uid}, not to this one ({os.geteuid()})", hint=hint)
    if status.st_mode & stat.S_IWOTH and not status.st_mode & stat.S_ISVTX:
        raise StoreError(f"{path}: everybody may write there", hint=f"chmod o-w {path}, or --root DIR")


def _user_directories(environ: dict[str, str]) -> tuple[str, str]:
    runtime = environ.get("XDG_RUNTIME_DIR", "")
    if not os.path.isabs(runtime):
        # A login without a session manager: /tmp is the one place every user may write.
        runtime = f"/tmp/pycontain-{os.geteuid()}"
    share = environ.get("XDG_DATA_HOME", "")
    if not os.path.isabs(share):
        home = environ.get("HOME", "")
        if not os.path.isabs(home):
            raise UsageError("HOME is not set", hint="set HOME or XDG_DATA_HOME, or give --root DIR")
        share = f"{home}/.local/share"
    return f"{runtime}/pycontain", f"{share}/pycontain"
