"""Start a stopped container again: new processes on its own layer, from the configuration it was made with. [lean]"""

from __future__ import annotations

import os

from pycontain.cgroups.cgroup import Cgroup, CgroupPaths
from pycontain.engine import assembly, config, defaults
from pycontain.engine.making import FILTER
from pycontain.errors import WrongState
from pycontain.plan.compile import compile_plan
from pycontain.plan.facts import saved_users
from pycontain.plan.rootfs import RootSource, SystemMount
from pycontain.runtime import probe, processes, remove, state
from pycontain.runtime.create import Maker, Terms

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from pycontain.plan.plan import Plan
    from pycontain.runtime.create import Created
    from pycontain.runtime.init import Stdio
    from pycontain.runtime.settings import Settings
    from pycontain.runtime.state import Entry, Lock, State


class Remaking:
    """A stopped container that gets new processes; its lock is held by this process.

    Use as a context manager: when the block fails, the container is as it was before, stopped.
    """

    def __init__(self, settings: Settings, entry: Entry) -> None:
        self.settings = settings
        self.entry = entry
        self.plan: Plan
        self.lock: Lock
        self._cgroup: Cgroup
        self._saved: State

    def __enter__(self) -> Remaking:
        self.lock = self.entry.lock()
        try:
            self._saved = self.entry.load()
            status = self.entry.status(self._saved)
            if status != state.STOPPED:
                raise WrongState(f"container {self._saved.name} is {status}", hint=f"pycontain stop {self._saved.name}")
        except BaseException:
            self.lock.release()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, _error: object, _trace: object) -> None:
        try:
            if kind is not None:
                remove.kill(self.entry)
                self._cgroup_of(self._saved).remove()
                self.entry.save(self._saved)
        finally:
            self.lock.release()

    @property
    def attended(self) -> dict[str, Any]:
        """What the monitor must know of the container."""
        return self._saved.options

    @property
    def notes(self) -> tuple[str, ...]:
        """Lines that the user is told at the start."""
        return self._saved.notes

    def create(self, stdio: Stdio, *, tied: bool, forget: Callable[[], None]) -> Created:
        """Make the container's processes once more."""
        saved = self._saved
        remove.kill(self.entry)
        spec = config.load(self.entry)
        peers: tuple[tuple[int, int], ...] = ()
        if any(namespace.path is not None for namespace in spec.linux.namespaces):
            from pycontain.engine.rejoining import rejoin

            spec, peers = rejoin(self.settings, saved, spec)
            config.save(self.entry, spec)
        cgroup = self._cgroup_of(saved)
        root = root_source(saved.root_source)
        clear_volatile(root)
        userns = saved_users(saved.userns)
        facts = assembly.facts_for(self.settings, userns, cgroup, privileged=probe.is_privileged())
        self.plan = compile_plan(
            spec,
            root,
            facts,
            seccomp=self._load_filter(),
            keyring=assembly.keyring_of(self.entry.id),
            oom_score=defaults.OOM_SCORE,
        )
        assembly.make_cgroup(self.entry, cgroup, spec)
        self._cgroup = cgroup
        maker = Maker(
            self.plan,
            journal=self.entry.journal,
            cgroup=cgroup if cgroup.paths.exists else None,
            stdio=stdio,
            staging=f"{self.entry.directory}/trees",
            tied=tied,
            forget=forget,
            meanwhile=lambda: None,
            terms=Terms(peers=peers),
        )
        return maker.create()

    def save(self, created: Created, *, shape: str, status: str, attended_by: int) -> State:
        """Write the new processes into the state."""
        saved = self._saved.replace(
            boot_id=processes.boot_id(),
            status=status,
            shape=shape,
            pid=created.pid,
            pid_start=created.pid_start,
            monitor_pid=attended_by,
            monitor_start=processes.start_time(attended_by) or 0,
            started_ns=0,
            finished_ns=0,
            exit_code=-1,
            signal=0,
            oom_killed=False,
            error="",
            restarts=self._saved.restarts + 1,
        )
        self.entry.save(saved)
        return saved

    def _load_filter(self) -> bytes | None:
        try:
            with open(f"{self.entry.directory}/{FILTER}", "rb") as file:
                return file.read()
        except FileNotFoundError:
            return None

    def _cgroup_of(self, saved: State) -> Cgroup:
        return Cgroup(CgroupPaths(**saved.cgroup) if saved.cgroup else CgroupPaths())


def root_source(saved: dict[str, Any]) -> RootSource:
    """Return the root file system of which ``saved`` is the record as a dict, as a state file has it."""
    document = dict(saved)
    document["mounts"] = tuple(SystemMount(**mount) for mount in document["mounts"])
    document["links"] = tuple((name, target) for name, target in document["links"])
    document["include"] = tuple(document["include"])
    return RootSource(**document)


def clear_volatile(root: RootSource) -> None:
    """Remove the mark of a volatile overlay: it forbids a second mount, for which we know that no crash lies between.

    Source: Documentation/filesystems/overlayfs.rst, "Volatile mount"
    """
    if root.overlay and not root.memory_bytes and os.path.isdir(root.overlay):
        for name in os.listdir(root.overlay):
            work = os.path.join(root.overlay, name, "work", "work")
            marks = os.path.join(work, "incompat")
            for directory in (work, marks):
                if os.path.isdir(directory):
                    os.chmod(directory, 0o700)  # the kernel makes it with mode 0, which keeps an ordinary user out
            remove.remove_tree(os.path.join(marks, "volatile"))
