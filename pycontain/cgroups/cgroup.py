"""One container's cgroups in all hierarchies of the host: the object that the rest of pycontain uses. [lean]

Order of a start::

    settings = check(resources, devices)   a limit that this host cannot enforce is an error before anything is made
    create(journal, settings)              directories; journal(path) before each
    apply(settings, devices)               limits and device filter, while nobody is in there
    unified_fd()                           for CLONE_INTO_CGROUP; join_fds() for init, which writes 0 into each
    …
    kill(), remove()

Where no cgroup can be used, :attr:`CgroupPaths.exists` is false: create and remove do nothing, a limit is an error.
"""

from __future__ import annotations

import os

from pycontain.cgroups import tree
from pycontain.cgroups.directory import Directory
from pycontain.cgroups.frozen import is_frozen
from pycontain.cgroups.setting import Refused, Setting, write_all
from pycontain.errors import HostError, SpecError
from pycontain.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType

    from pycontain.cgroups.devices import DeviceFilter
    from pycontain.cgroups.layout import CgroupLayout
    from pycontain.cgroups.limits import Placement
    from pycontain.spec.resources import LinuxResources

FREEZE_TIMEOUT_S = 2.0

# The controllers of cgroup v2 that every container gets where they can be had: what statistics count and what a
# runtime inside the container asks for first. The others (hugetlb, rdma, misc: together a tenth of a millisecond per
# start) come with a limit that needs them.
USUAL_CONTROLLERS = ("cpuset", "cpu", "io", "memory", "pids")


class CgroupPaths(Record):
    """Where a container's cgroups are: plain text, kept in its state, enough to find them again from any process.

    ``unified`` is empty without cgroup v2; controllers are enabled from ``anchor`` down to it; ``own`` was the caller's
    cgroup. ``v1`` is keyed by controller. ``unusable`` is :attr:`CgroupLayout.unusable`.
    """

    unified: str = ""
    anchor: str = ""
    own: str = ""
    v1: Mapping[str, str] = {}
    unusable: Mapping[str, str] = {}

    @property
    def exists(self) -> bool:
        """Return whether there is any hierarchy to be in."""
        return bool(self.unified or self.v1)

    @property
    def directories(self) -> tuple[str, ...]:
        """Return every directory once, cgroup v2 first."""
        return tuple(dict.fromkeys(([self.unified] if self.unified else []) + list(self.v1.values())))


def locate(layout: CgroupLayout, path: str) -> CgroupPaths:
    """Return where cgroup ``path`` is in the hierarchies of ``layout``, which :func:`host.usable` has narrowed. Pure.

    An absolute path counts from the mount points, another one from where we may make cgroups. Source:
    config-linux.md#cgroups-path

    Raises:
        SpecError: the path would leave its hierarchy, or is the hierarchy's root.
    """
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if ".." in parts or "\0" in path or "\n" in path or not parts:
        raise SpecError("linux.cgroupsPath", f"{path!r} is not a path below a cgroup hierarchy")
    cleaned = ("/" if path.startswith("/") else "") + "/".join(parts)
    unified = layout.unified
    return CgroupPaths(
        unified=unified.directory(cleaned) if unified else "",
        anchor=unified.directory(unified.base) if unified else "",
        own=unified.directory(unified.own) if unified and unified.own is not None else "",
        v1={controller: hierarchy.directory(cleaned) for controller, hierarchy in layout.v1.items()},
        unusable=dict(layout.unusable),
    )


class Cgroup:
    """The cgroups at ``paths``. Directories are opened when first needed and stay open until :meth:`close`."""

    __slots__ = ("_open", "paths")

    def __init__(self, paths: CgroupPaths) -> None:
        self.paths = paths
        self._open: dict[str, Directory] = {}

    # limits as data, before anything is made

    def check(self, resources: LinuxResources, devices: DeviceFilter | None = None) -> tuple[Setting, ...]:
        """Return what :meth:`apply` will write; raise for every limit that cannot be enforced here.

        Raises:
            HostError: names the limit, the controller and the cure.
            SpecError: a value that no kernel takes.
        """
        from pycontain.cgroups.limits import settings

        wanted = settings(resources, self.placement())
        if any(setting.controller == "cpuset" for setting in wanted):
            from pycontain.cgroups.refusal import check_cpuset

            check_cpuset(self.paths, wanted)
        if devices is not None and not devices.allows_everything:
            self._check_devices(devices)
        return wanted

    def _check_devices(self, devices: DeviceFilter) -> None:
        if "devices" in self.paths.v1:
            from pycontain.cgroups.devices import check_v1

            check_v1(devices.rules)
        elif not self.paths.unified:
            raise HostError(
                "devices: no cgroup hierarchy can be used to filter them",
                requirement="cgroup:devices",
                hint="run as root, or rootless, where devices need no filter",
            )

    def placement(self) -> Placement:
        """Return which controllers this host has for this cgroup, and where."""
        from pycontain.cgroups.limits import Placement

        return Placement(
            v1=tuple(self.paths.v1),
            unified=self._available() if self.paths.unified else None,
            where=f"cgroup v2 at {self.paths.anchor}",
            reasons=self.paths.unusable,
            delegate=os.geteuid() != 0,
        )

    def _available(self) -> tuple[str, ...]:
        """Return the controllers of cgroup v2 that can be had at our place."""
        directory = self.paths.anchor
        if not self.paths.unified.startswith(directory.rstrip("/") + "/"):
            directory = os.path.dirname(self.paths.unified)
            while not os.path.isdir(directory):
                directory = os.path.dirname(directory)
        with Directory(directory) as found:
            return tuple(found.read_or("cgroup.controllers", "").split())

    # making

    def create(
        self,
        journal: Callable[[str], None],
        settings: tuple[Setting, ...] = (),
        *,
        withdraw: Callable[[str], None] | None = None,
    ) -> None:
        """Make the cgroups, with the usual controllers where they can be had; ``journal`` gets each path before.

        Nothing stays behind after an error, but for shared cgroups above. ``withdraw`` gets a path that somebody else
        has made in the moment between.

        Raises:
            HostError: a cgroup exists and has processes or is frozen, or the host refuses, or a controller that
                ``settings`` need cannot be enabled.
        """
        made: list[str] = []

        def record(path: str) -> None:
            journal(path)
            made.append(path)

        required = {setting.controller for setting in settings} - {"cgroup", *self.paths.v1}
        try:
            for path in self.paths.directories:
                try:
                    new = self._make(path, record, required)
                except tree.Taken:
                    made.remove(path)
                    if withdraw is not None:
                        withdraw(path)
                    raise
                if not new:
                    self._refuse_occupied(path)
                # a process cloned into a frozen cgroup would never run; a new cgroup below a frozen one is frozen
                freezer = path if path == self.paths.v1.get("freezer") else ""
                if is_frozen(path if path == self.paths.unified else "", freezer):
                    raise HostError(f"cgroup {path}: is frozen", hint="thaw it, or the cgroup above it, first")
        except BaseException:
            self.close()
            try:
                tree.remove(reversed(made))
            except HostError:
                pass  # the first error says more, and the journal knows what is left
            raise

    def ensure(self) -> None:
        """Make the cgroups if they are not there; processes in them are no error. For a cgroup shared by helpers.

        Raises:
            HostError: the host refuses.
        """
        for path in self.paths.directories:
            try:
                self._make(path, _no_journal, set())
            except HostError:
                if not os.path.isdir(path):
                    raise

    def _make(self, path: str, journal: Callable[[str], None], required: set[str]) -> bool:
        """Make one directory with what it needs to take processes; return whether it is new."""

        def enable() -> None:
            usual = [name for name in self._available() if name in USUAL_CONTROLLERS]
            if usual or required:
                tree.enable(
                    os.path.dirname(path), (*usual, *required), required, anchor=self.paths.anchor, own=self.paths.own
                )

        is_unified = path == self.paths.unified
        new = tree.make(path, journal, enable if is_unified else None)
        if is_unified and not new:
            enable()
        if path == self.paths.v1.get("cpuset"):
            tree.inherit_cpuset(path)
        return new

    def _refuse_occupied(self, path: str) -> None:
        pids = tree.processes(path)
        if pids:
            raise HostError(
                f"cgroup {path}: has {len(pids)} processes already, the first is {pids[0]}",
                hint="every container needs a cgroup of its own (cgroupsPath)",
            )

    def apply(self, settings: tuple[Setting, ...], devices: DeviceFilter | None = None) -> None:
        """Write every limit that :meth:`check` returned; ``devices`` None leaves devices alone.

        Raises:
            HostError: the kernel refuses one; names the limit and, where known, the cure.
        """
        try:
            write_all(settings, self.write)
        except Refused as refused:
            from pycontain.cgroups.refusal import explain

            raise explain(refused, self.directory(refused.setting.controller)) from refused.cause
        # a new cgroup of v2 has no filter yet
        if devices is not None and ("devices" in self.paths.v1 or not devices.allows_everything):
            self.apply_devices(devices)

    def apply_devices(self, devices: DeviceFilter) -> None:
        """Make the device filter hold, in place of one that holds already.

        Raises:
            HostError: the kernel refuses.
        """
        from pycontain.cgroups.devices import detach_v2, write_v1, write_v2

        if "devices" in self.paths.v1:
            write_v1(self.directory("devices"), devices.rules)
        elif not devices.allows_everything:
            self._check_devices(devices)
            write_v2(self.directory("unified"), devices.program)
        elif self.paths.unified:
            detach_v2(self.directory("unified"))

    def delegate(self, uid: int, gid: int) -> None:
        """Give the cgroup of v2 to the container's root: it may make cgroups below and move its processes there.

        Only for a container with a cgroup namespace of its own and a writable cgroup mount. Limits stay ours.

        Raises:
            OSError: as chown(2).
        """
        if not self.paths.unified:
            return
        directory = self.directory("unified")
        os.chown(directory.fd, uid, gid)
        try:
            with open("/sys/kernel/cgroup/delegate", encoding="utf-8") as file:
                names = file.read().split()
        except FileNotFoundError:
            names = ["cgroup.procs", "cgroup.threads", "cgroup.subtree_control"]
        for name in names:
            try:
                os.chown(name, uid, gid, dir_fd=directory.fd, follow_symlinks=False)
            except FileNotFoundError:
                continue

    def write(self, setting: Setting) -> None:
        """Write one setting. Raises: OSError with the file's path."""
        self.directory(setting.controller).write(setting.file, setting.value)

    def directory(self, controller: str) -> Directory:
        """Return the open directory in which ``controller`` (or ``unified``) has its files. Raises: OSError."""
        path = self.paths.v1.get(controller, self.paths.unified)
        found = self._open.get(path)
        if found is None:
            found = self._open[path] = Directory(path)
        return found

    # processes

    def unified_fd(self) -> int:
        """Return the descriptor for CLONE_INTO_CGROUP, open until :meth:`close`; -1 without cgroup v2."""
        return self.directory("unified").fd if self.paths.unified else -1

    def unified_fd_of(self, pid: int) -> int:
        """Return a new descriptor of the cgroup of v2, at or below ours, that process ``pid`` is in; -1 if none.

        For exec into a container that made cgroups of its own: a cgroup that passes controllers on takes no process
        (CLONE_INTO_CGROUP says EBUSY), its init's takes one.
        """
        path = _find_process(self.paths.unified, pid) if self.paths.unified else ""
        return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC) if path else -1

    def join_fds(self) -> tuple[int, ...]:
        """Return new descriptors, one per hierarchy of v1: a single-threaded process that writes ``0`` into each is in.

        ``tasks`` instead of ``cgroup.procs``: moving one thread spares the kernel a wait of about 10 ms.
        """
        fds: list[int] = []
        try:
            for path in dict.fromkeys(self.paths.v1.values()):
                fds.append(os.open(f"{path}/tasks", os.O_WRONLY | os.O_CLOEXEC))  # noqa: PERF401 - closed on an error
        except BaseException:
            for fd in fds:
                os.close(fd)
            raise
        return tuple(fds)

    def add(self, pid: int) -> None:
        """Move a process, 0 for ourselves, in everywhere. Raises: OSError with the file's path."""
        for path in self.paths.directories:
            with Directory(path) as directory:
                directory.write("cgroup.procs", str(pid))

    def procs(self) -> tuple[int, ...]:
        """Return the processes in and below the cgroup; none if it is gone, or without cgroups."""
        return tree.processes(self._main()) if self.paths.exists else ()

    def _main(self) -> str:
        """Return the directory that knows all processes: v2's, else that of the hierarchy least likely to be split."""
        return self.paths.unified or self.paths.v1.get("freezer") or self.paths.directories[0]

    def kill(self) -> None:
        """Kill every process, also of a frozen cgroup; they may need a moment to end. Nothing without cgroups.

        Raises:
            HostError: without ``cgroup.kill``, processes are left after 10 s.
        """
        from pycontain.cgroups import freezer

        if not self.paths.exists:
            return
        try:
            if self.paths.unified:
                if freezer.kill_v2(self.directory("unified")):
                    return
                freezer.kill_frozen(self.directory("unified"), "cgroup.freeze", "1", "0")
            elif "freezer" in self.paths.v1:
                freezer.kill_frozen(self.directory("freezer"), "freezer.state", "FROZEN", "THAWED")
            freezer.kill_each(self._main())
        except OSError as error:
            if error.errno not in tree.GONE:
                raise

    def signal_all(self, signum: int) -> tuple[int, ...]:
        """Send a signal to every process and return to which; one that is forked meanwhile may be missed."""
        from pycontain.cgroups import freezer

        return freezer.signal_each(self._main(), signum) if self.paths.exists else ()

    def freeze(self, timeout_s: float = FREEZE_TIMEOUT_S) -> None:
        """Stop every process and return when they have stopped.

        Raises:
            HostError: this host cannot, or some did not stop in time; then all run on.
        """
        from pycontain.cgroups import freezer

        if self.paths.unified:
            freezer.freeze_v2(self.directory("unified"), timeout_s)
        elif "freezer" in self.paths.v1:
            freezer.freeze_v1(self.directory("freezer"), timeout_s)
        else:
            raise _no_freezer(self.paths)

    def thaw(self, timeout_s: float = FREEZE_TIMEOUT_S) -> None:
        """Let every process run again.

        Raises:
            HostError: this host cannot freeze, or a cgroup above is frozen.
        """
        from pycontain.cgroups import freezer

        if self.paths.unified:
            freezer.thaw_v2(self.directory("unified"), timeout_s)
        elif "freezer" in self.paths.v1:
            freezer.thaw_v1(self.directory("freezer"))
        else:
            raise _no_freezer(self.paths)

    def frozen(self) -> bool:
        """Return whether the processes are stopped."""
        return is_frozen(self.paths.unified, self.paths.v1.get("freezer", ""))

    def _text(self, controller: str, file: str) -> str:
        """Return what a file says, nothing where there is none or the cgroup is gone."""
        try:
            return self.directory(controller).read_or(file, "")
        except FileNotFoundError:
            return ""

    def oom_kills(self) -> int:
        """Return how many processes the kernel has killed here for want of memory; 0 where it is not counted."""
        if not self.paths.unified and "memory" not in self.paths.v1:
            return 0
        file = "memory.oom_control" if "memory" in self.paths.v1 else "memory.events"
        for line in self._text("memory", file).splitlines():
            key, _, value = line.partition(" ")
            if key == "oom_kill":
                return int(value)
        return 0

    # the end

    def remove(self, timeout_s: float = tree.REMOVE_TIMEOUT_S) -> None:
        """Remove the cgroups and those that the container made below; those that are gone are no error.

        Raises:
            HostError: processes are left.
        """
        self.close()
        tree.remove(self.paths.directories, timeout_s)

    def close(self) -> None:
        """Close every directory; using the object opens them again."""
        for directory in self._open.values():
            directory.close()
        self._open.clear()

    def __enter__(self) -> Cgroup:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _no_journal(_path: str) -> None:
    """Take note of nothing: shared cgroups are nobody's to remove."""


def _no_freezer(paths: CgroupPaths) -> HostError:
    reason = "".join(f": {text}" for key, text in paths.unusable.items() if key in ("unified", "freezer"))
    return HostError(
        f"freeze: no cgroup can be used{reason}",
        requirement="cgroup:freezer",
        hint="mount cgroup2, or rootless: systemd-run --user --scope -p Delegate=yes pycontain …",
    )


def _find_process(path: str, pid: int) -> str:
    """Return the cgroup at or below ``path`` that process ``pid`` is in, empty if none."""
    try:
        with Directory(path) as directory:
            if str(pid) in directory.read_or("cgroup.procs", "").split():
                return path
            children = directory.children()
    except FileNotFoundError:
        return ""
    for child in children:
        found = _find_process(f"{path}/{child}", pid)
        if found:
            return found
    return ""
