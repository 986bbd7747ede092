"""What the shapes of a run share: a container from options up to an init that is ready. [lean]"""

from __future__ import annotations

import os
import stat
import time

from pycontain.engine import assembly, events, generate, names
from pycontain.engine import userns as users
from pycontain.errors import Exists, HostError, PycontainError, UsageError
from pycontain.runtime import processes, remove, state
from pycontain.runtime.replacing import replace_file
from pycontain.runtime.state import State, Store
from pycontain.runtime.trees import IDMAP

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from pycontain.engine.assembly import Assembly
    from pycontain.engine.generate import Prepared
    from pycontain.engine.options import RunOptions
    from pycontain.plan.plan import Plan
    from pycontain.runtime.create import Created, Maker
    from pycontain.runtime.init import Stdio
    from pycontain.runtime.settings import Settings
    from pycontain.runtime.state import Entry, Lock

NAME_ATTEMPTS = 20
# The compiled seccomp filter, for exec.
FILTER = "seccomp.bpf"


class Making:
    """A container that is being made: its directory exists, its lock is held by this process.

    Use as a context manager: when the block fails, everything made so far is undone. ``container_id`` is made up unless
    it is given.
    """

    def __init__(self, settings: Settings, options: RunOptions, container_id: str = "") -> None:
        self.settings = settings
        self.options = options
        self._id = container_id or names.new_id()
        self.entry: Entry
        self.lock: Lock
        self.prepared: Prepared
        self.assembly: Assembly
        self._written: list[str] = []

    def __enter__(self) -> Making:
        self._check_user_files()
        store = Store(self.settings)
        store.prepare()
        for attempt in range(NAME_ATTEMPTS):
            name = self.options.name or names.random_name(attempt)
            self.prepared = generate.prepare(self.settings, self.options, self._id, name)
            try:
                self.entry, self.lock = store.add(self._id, name)
                return self
            except Exists:
                if self.options.name:
                    raise
        raise HostError("no free name was found", hint="give one: --name NAME")

    def _check_user_files(self) -> None:
        """Refuse a cid file that exists, as docker does, and files whose directory does not."""
        cidfile, pidfile = self.options.cidfile, self.options.pidfile
        if cidfile and os.path.lexists(cidfile):
            raise UsageError(f"--cidfile: {cidfile}: exists already", hint="remove it or choose another path")
        if pidfile and os.path.lexists(pidfile) and not stat.S_ISREG(os.lstat(pidfile).st_mode):
            # it would be replaced by a file, /dev/null for one
            raise UsageError(f"--pidfile: {pidfile}: is not a regular file", hint="choose another path")
        for option, path in (("--cidfile", cidfile), ("--pidfile", pidfile)):
            if path and not os.path.isdir(os.path.dirname(path) or "."):
                raise UsageError(f"{option}: {path}: its directory does not exist", hint="make it first")

    def __exit__(self, kind: type[BaseException] | None, _error: object, _trace: object) -> None:
        try:
            if kind is not None:
                saved = self._saved()
                remove.undo(self.entry)
                if saved is not None:
                    events.record(self.settings, saved, events.DESTROY)
                for path in self._written:
                    os.unlink(path)
        finally:
            self.lock.release()

    def _saved(self) -> State | None:
        """Return the state, which another process may have written, None where there is none."""
        try:
            return self.entry.load()
        except PycontainError:
            return None

    def create(self, stdio: Stdio, *, tied: bool, forget: Callable[[], None]) -> Created:
        """Assemble the container and make its processes, once more with the fallback where owners cannot be shifted."""
        self.assembly = assembly.assemble(self.settings, self.entry, self.prepared)
        try:
            return self._maker(stdio, tied, forget).create()
        except HostError as error:
            if error.requirement != IDMAP or not isinstance(self.prepared.userns, str):
                raise
        remove.undo_made(self.entry)
        self.assembly = assembly.assemble(self.settings, self.entry, self.prepared, shift=False)
        return self._maker(stdio, tied, forget).create()

    def _maker(self, stdio: Stdio, tied: bool, forget: Callable[[], None]) -> Maker:
        return self.assembly.maker(stdio, tied=tied, forget=forget, meanwhile=self._write_configuration)

    def _write_configuration(self) -> None:
        """Write what tells later commands how the container was configured."""
        # with it come the tables of every field there is, which nothing else here needs
        from pycontain.engine import config

        config.save(self.entry, self.assembly.prepared.spec)
        if self.plan.process.seccomp is not None:
            self.entry.write_bytes(FILTER, self.plan.process.seccomp)

    def save(self, created: Created, *, shape: str, status: str, attended_by: int) -> State:
        """Write the state, and the files that the user asked for."""
        prepared, plan = self.assembly.prepared, self.assembly.plan
        saved = State(
            id=prepared.id,
            name=prepared.name,
            created_ns=time.time_ns(),
            boot_id=processes.boot_id(),
            status=status,
            shape=shape,
            pid=created.pid,
            pid_start=created.pid_start,
            monitor_pid=attended_by,
            monitor_start=processes.start_time(attended_by) or 0,
            cgroup=self.assembly.cgroup.paths.asdict(),
            root=prepared.root.path,
            root_source=prepared.root.asdict(),
            command=plan.process.argv,
            userns=users.to_state(plan.userns, self.assembly.note),
            options=prepared.state_options,
            labels=self.options.labels,
            annotations=self.options.annotations,
            notes=tuple(note for note in (*prepared.notes, self.assembly.note) if note),
            started_ns=time.time_ns() if status == state.RUNNING else 0,
        )
        self.entry.save(saved)
        events.record(self.settings, saved, events.CREATE)
        options = self.options
        for option, path, text in (
            ("--cidfile", options.cidfile, prepared.id),
            ("--pidfile", options.pidfile, f"{created.pid}\n"),
        ):
            if path:
                self._write_user_file(option, path, text)
        return saved

    def _write_user_file(self, option: str, path: str, text: str) -> None:
        try:
            replace_file(path, text.encode(), 0o644)
        except OSError as error:
            cause = (error.strerror or "").lower()
            raise UsageError(f"{option}: {path}: {cause}", hint="choose another path") from error
        self._written.append(path)

    @property
    def attended(self) -> dict[str, Any]:
        """What the monitor must know of the container."""
        return self.prepared.state_options

    @property
    def plan(self) -> Plan:
        """The plan, once the container has been created."""
        return self.assembly.plan

    @property
    def notes(self) -> tuple[str, ...]:
        """Lines that the user is told at the start."""
        return tuple(note for note in (*self.assembly.prepared.notes, self.assembly.note) if note)
