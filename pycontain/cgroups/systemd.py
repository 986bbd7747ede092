"""A container's cgroup as a transient scope of systemd, for hosts where systemd owns the tree. Not for the start path.

::

    with Manager.connect(user=False) as manager:
        group = manager.start_scope(Unit("system.slice", "pycontain-abc.scope"), pids=(os.getpid(),), description="…")
    paths = below(usable(probe_host()), group)       the container goes into a cgroup below the delegated scope
    …
    manager.stop("pycontain-abc.scope")

systemd wants a process to start a scope with, and a cgroup that passes controllers on may hold none: the process that
is given moves on into a leaf of the scope when :meth:`Cgroup.create` enables controllers. Limits are written into the
container's own cgroup, not handed to systemd: with ``Delegate=yes`` that is ours, and ``systemctl daemon-reload``
leaves it alone. A scope ends by itself with its last process.

Source: org.freedesktop.systemd1(5); systemd.io/CGROUP_DELEGATION; systemd.scope(5); config-linux.md#cgroups-path
"""

from __future__ import annotations

import os
import time
from collections import deque
from typing import TYPE_CHECKING, Any

from jeepney import (  # type: ignore[import-untyped]
    DBusAddress,
    DBusErrorResponse,
    HeaderFields,
    MatchRule,
    Properties,
    message_bus,
    new_method_call,
)
from jeepney.io.blocking import DBusConnection, open_dbus_connection  # type: ignore[import-untyped]
from jeepney.wrappers import unwrap_msg  # type: ignore[import-untyped]

from pycontain.cgroups.cgroup import CgroupPaths, locate
from pycontain.errors import HostError, SpecError
from pycontain.record import Record

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType
    from typing import Self

    from pycontain.cgroups.layout import CgroupLayout

SYSTEM_BUS = "unix:path=/run/dbus/system_bus_socket"
TIMEOUT_S = 15.0
_BUS_START_S = 5.0

# the container's cgroup below the scope
CONTAINER = "container"

_NAME = "org.freedesktop.systemd1"
_PATH = "/org/freedesktop/systemd1"
_MANAGER = DBusAddress(_PATH, bus_name=_NAME, interface=f"{_NAME}.Manager")
_NO_LIMIT = (1 << 64) - 1
_WITHOUT = "say --cgroup-manager=cgroupfs, or leave out --systemd-cgroup"
# systemd.unit(5): letters, digits and these
_UNIT_PUNCTUATION = ":-_.\\@"


class Unit(Record):
    """A scope's slice and its own name."""

    slice: str
    name: str


def parse_cgroups_path(path: str, container_id: str, *, user: bool) -> Unit:
    """Return the scope that ``slice:prefix:name`` asks for; empty parts, or an empty path, get defaults.

    Raises:
        SpecError: it is not of this form, or names no unit of systemd.
    """
    parts = path.split(":") if path else ["", "", ""]
    if len(parts) != 3:
        raise SpecError("linux.cgroupsPath", f"{path!r} is not slice:prefix:name, as systemd's cgroups are named")
    slice_name = parts[0] or ("user.slice" if user else "system.slice")
    prefix = parts[1] if path else "pycontain"
    name = parts[2] or container_id
    unit = f"{prefix}-{name}.scope" if prefix else f"{name}.scope"
    for what in (slice_name, unit):
        if not all((letter.isascii() and letter.isalnum()) or letter in _UNIT_PUNCTUATION for letter in what):
            raise SpecError("linux.cgroupsPath", f"{what!r} is not a name of a unit")
    if not slice_name.endswith(".slice") or name.endswith(".slice"):
        raise SpecError("linux.cgroupsPath", f"{path!r} does not name a slice and then a scope")
    return Unit(slice_name, unit)


def bus_address(*, user: bool) -> str:
    """Return where the bus with the system's, or the user's, manager listens; empty if there is none.

    Reads the environment (DBUS_SESSION_BUS_ADDRESS, XDG_RUNTIME_DIR) for a user's.
    """
    if not user:
        # sd_booted(3), and a bus
        is_running = os.path.isdir("/run/systemd/system") and os.path.exists("/run/dbus/system_bus_socket")
        return SYSTEM_BUS if is_running else ""
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    if not runtime or not os.path.exists(f"{runtime}/systemd/private"):
        return ""
    return os.environ.get("DBUS_SESSION_BUS_ADDRESS", "") or f"unix:path={runtime}/bus"


def below(layout: CgroupLayout, control_group: str) -> CgroupPaths:
    """Return where the container goes below the scope whose cgroup is ``control_group``.

    The scope's processes are those that we started it with: they may be moved to its leaf.
    """
    paths = locate(layout, f"{control_group}/{CONTAINER}")
    scope = os.path.dirname(paths.unified) if paths.unified else ""
    return paths.replace(anchor=scope, own=scope)


class Manager:
    """A connection to one of systemd's managers. Every method raises HostError when systemd refuses or is silent."""

    def __init__(self, connection: DBusConnection) -> None:
        self._connection = connection
        self._removed_jobs: deque[Any] = deque()
        rule = MatchRule(type="signal", sender=_NAME, interface=f"{_NAME}.Manager", member="JobRemoved", path=_PATH)
        self._ask(message_bus.AddMatch(rule))
        # on arrival the sender is a unique name, and what is sent to us alone passes every match
        self._owner = self._name_owner()
        connection.filter(
            MatchRule(type="signal", interface=f"{_NAME}.Manager", member="JobRemoved"), queue=self._removed_jobs
        )
        self._call("Subscribe")

    @classmethod
    def connect(cls, *, user: bool, address: str = "") -> Self:
        """Return a manager of the system or of the user.

        Raises:
            HostError: there is none.
        """
        address = address or bus_address(user=user)
        if not address:
            raise HostError(
                f"no {'user manager of systemd' if user else 'systemd'} answers here",
                requirement="systemd",
                hint=_WITHOUT + (", or: loginctl enable-linger" if user else ""),
            )
        try:
            connection = open_dbus_connection(address)
        except (OSError, ValueError) as error:
            raise HostError(
                f"connect to systemd at {address}: {str(error).lower()}",
                requirement="systemd",
                hint=_WITHOUT,
            ) from error
        try:
            return cls(connection)
        except BaseException:
            connection.close()
            raise

    def start_scope(
        self,
        unit: Unit,
        *,
        pids: tuple[int, ...],
        description: str,
        properties: Mapping[str, tuple[str, Any]] | None = None,
    ) -> str:
        """Start a scope with these processes in it; return its cgroup as a path in the hierarchy.

        A scope of this name that failed before is forgotten first. ``properties`` are more of the unit's, or others, as
        (signature, value).

        Raises:
            HostError: it is there already, or systemd refuses.
        """
        wanted = {
            "Description": ("s", description),
            "Slice": ("s", unit.slice),
            "PIDs": ("au", list(pids)),
            "Delegate": ("b", True),
            # not stopped before what a shutdown stops first, and not started before what a boot starts first
            "DefaultDependencies": ("b", False),
            # systemd's own default would be a limit that nobody asked for
            "TasksMax": ("t", _NO_LIMIT),
            "CollectMode": ("s", "inactive-or-failed"),
            **(properties or {}),
        }
        body: tuple[Any, ...] = (unit.name, "fail", list(wanted.items()), [])
        try:
            self._run_job("StartTransientUnit", "ssa(sv)a(sa(sv))", body, unit.name)
        except _Refusal as refusal:
            if refusal.name != f"{_NAME}.UnitExists":
                raise
            self._forget_failed(unit.name)
            self._run_job("StartTransientUnit", "ssa(sv)a(sa(sv))", body, unit.name)
        return self._control_group(unit.name)

    def stop(self, name: str) -> None:
        """Stop a scope, with what still runs in it, and return when it is gone; one that is gone is no error.

        Raises:
            HostError: systemd refuses, or does not stop it in time.
        """
        try:
            self._run_job("StopUnit", "ss", (name, "replace"), name)
        except _Refusal as refusal:
            if refusal.name != f"{_NAME}.NoSuchUnit":
                raise
        self._forget_failed(name)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _control_group(self, name: str) -> str:
        (path,) = self._call("GetUnit", "s", (name,))
        scope = DBusAddress(path, bus_name=_NAME, interface=f"{_NAME}.Scope")
        group: str = self._ask(Properties(scope).get("ControlGroup"))[0][1]
        if not group:
            raise HostError(
                f"{name}: systemd gave it no cgroup",
                requirement="systemd",
                hint="its process may have ended at once: systemctl status " + name,
            )
        return group

    def _forget_failed(self, name: str) -> None:
        try:
            self._call("ResetFailedUnit", "s", (name,))
        except _Refusal:
            pass  # not loaded any more: what we wanted

    def _run_job(self, method: str, signature: str, body: tuple[Any, ...], unit: str) -> None:
        """Call a method that returns a job, and wait until the job is done: its reply says only that it was queued."""
        (job,) = self._call(method, signature, body)
        deadline = time.monotonic() + TIMEOUT_S
        while True:
            try:
                signal = self._connection.recv_until_filtered(
                    self._removed_jobs, timeout=max(0.0, deadline - time.monotonic())
                )
            except (OSError, TimeoutError) as error:
                raise self._silent(f"{method} {unit}", error) from error
            _, path, _, result = signal.body
            if path == job and signal.header.fields.get(HeaderFields.sender, self._owner) == self._owner:
                break
        if result != "done":
            raise HostError(
                f"{unit}: systemd's job ended with {result}",
                requirement="systemd",
                hint=f"systemctl status {unit}; journalctl -u {unit}",
            )

    def _name_owner(self) -> str:
        """Return systemd's unique name; it takes its known one a moment after our connection has started the bus."""
        deadline = time.monotonic() + _BUS_START_S
        while True:
            try:
                owner: str = self._ask(message_bus.GetNameOwner(_NAME))[0]
            except _Refusal as refusal:
                if refusal.name != "org.freedesktop.DBus.Error.NameHasNoOwner" or time.monotonic() > deadline:
                    raise
                time.sleep(0.02)
            else:
                return owner

    def _call(self, method: str, signature: str = "", body: tuple[Any, ...] = ()) -> Any:
        return self._ask(new_method_call(_MANAGER, method, signature or None, body))

    def _ask(self, message: Any) -> Any:
        try:
            return unwrap_msg(self._connection.send_and_get_reply(message, timeout=TIMEOUT_S))
        except DBusErrorResponse as error:
            text = str(error.data[0]) if error.data else error.name
            raise _Refusal(error.name, f"systemd: {text[:1].lower()}{text[1:].rstrip('.')}") from error
        except (OSError, TimeoutError) as error:
            raise self._silent("call", error) from error

    @staticmethod
    def _silent(what: str, error: Exception) -> HostError:
        reason = str(error).lower() or f"no answer within {TIMEOUT_S:g} s"
        return HostError(f"systemd: {what}: {reason}", requirement="systemd", hint=_WITHOUT)


class _Refusal(HostError):
    """An error that systemd replied; ``name`` is D-Bus' name of it."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(message, requirement="systemd", hint=_WITHOUT)
        self.name = name
