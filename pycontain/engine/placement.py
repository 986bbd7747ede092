"""Where the cgroups of containers and monitors are: below /pycontain, or in one scope that systemd delegated. [lean]

Where systemd owns the tree (cgroup v2, systemd as PID 1 or a user manager), all containers of a user live in one
transient scope, ``pycontain.scope``, with a cgroup each: asking systemd costs 20 ms, and once per scope is enough. The
scope ends by itself with the last process in it. Elsewhere, and with ``--cgroup-manager cgroupfs``, they live in
/pycontain below the mount point, or below our own cgroup where only that is ours.
"""

from __future__ import annotations

import os

from pycontain.cgroups import host
from pycontain.cgroups.cgroup import CgroupPaths, locate
from pycontain.errors import HostError
from pycontain.kernel import _sys
from pycontain.kernel.constants import WEXITED
from pycontain.runtime.replacing import replace_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pycontain.cgroups.layout import CgroupLayout
    from pycontain.runtime.settings import Settings

PARENT = "pycontain"
MONITORS = "monitors"
SCOPE = "pycontain.scope"
AUTO = "auto"
SYSTEMD = "systemd"
GROUP_FILE = "scope"


def place(settings: Settings, name: str, *, make: bool = True) -> CgroupPaths:
    """Return where the cgroup ``name`` is: a container's id, or MONITORS.

    ``make`` starts systemd's scope when it is not there; without it, only the place is told.

    Raises:
        HostError: systemd was asked for and refuses.
    """
    layout = host.usable(host.probe_host())
    if wants_systemd(settings, layout):
        group = _running_scope(settings, layout)
        if not group and make:
            group = _start_scope(settings)
        if group:
            paths = locate(layout, f"{group}/{name}")
            scope = os.path.dirname(paths.unified)
            return paths.replace(anchor=scope, own=scope)
    return locate(layout, f"{PARENT}/{name}")


def wants_systemd(settings: Settings, layout: CgroupLayout) -> bool:
    """Whether cgroups are to be had from systemd.

    Raises:
        HostError: it was asked for by name, and there is none.
    """
    if settings.cgroup_manager not in (AUTO, SYSTEMD):
        return False
    running = _bus_exists(settings)
    if settings.cgroup_manager == SYSTEMD and not running:
        raise HostError(
            "--cgroup-manager systemd: no manager of systemd answers here",
            requirement="systemd",
            hint="leave it out, or: loginctl enable-linger for an ordinary user",
        )
    if settings.cgroup_manager == SYSTEMD and layout.mode != "v2":
        raise HostError(
            f"--cgroup-manager systemd: this host's cgroups are {layout.mode}, a delegated scope needs v2",
            requirement="cgroup v2",
            hint="boot with systemd.unified_cgroup_hierarchy=1",
        )
    return running and layout.mode == "v2"


def _bus_exists(settings: Settings) -> bool:
    """Look without the D-Bus library: most hosts need it once per scope, and some never."""
    if not settings.rootless:
        # sd_booted(3), and a bus
        return os.path.isdir("/run/systemd/system") and os.path.exists("/run/dbus/system_bus_socket")
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    return bool(runtime) and os.path.exists(f"{runtime}/systemd/private")


def _running_scope(settings: Settings, layout: CgroupLayout) -> str:
    """Return the path of the scope's cgroup that was started last, "" when it has ended."""
    try:
        with open(f"{settings.state}/{GROUP_FILE}", encoding="utf-8") as file:
            group = file.read()
    except FileNotFoundError:
        return ""
    assert layout.unified is not None, "layout.mode is v2"
    return group if os.path.isdir(layout.unified.directory(group)) else ""


def _start_scope(settings: Settings) -> str:
    """Start the scope with a process of ours in it, which leaves when this process ends, and return its cgroup."""
    from pycontain.cgroups.systemd import Manager, Unit

    listening, held = os.pipe()
    pid, pidfd = _sys.clone3(0)
    if pid == 0:
        try:
            os.close(held)
            _sys.set_name("pycontain:scope")
            os.read(listening, 1)
        finally:
            os._exit(0)
    os.close(listening)
    try:
        with Manager.connect(user=settings.rootless) as manager:
            unit = Unit("user.slice" if settings.rootless else "system.slice", SCOPE)
            group = manager.start_scope(unit, pids=(pid,), description="containers of pycontain")
    except BaseException:
        os.close(held)
        _sys.waitid_pidfd(pidfd, WEXITED)
        raise
    finally:
        os.close(pidfd)
    # ``held`` stays open on purpose: the scope must not be empty before a container is in it
    _remember(settings, group)
    return group


def _remember(settings: Settings, group: str) -> None:
    replace_file(f"{settings.state}/{GROUP_FILE}", group.encode())
