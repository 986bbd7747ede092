"""Scopes of systemd, against a manager of our own that speaks D-Bus on a socket of its own."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jeepney import DBusAddress, HeaderFields, MessageType, Parser, new_error, new_method_return, new_signal

from pycontain.cgroups import systemd
from pycontain.cgroups.layout import CgroupLayout, Hierarchy
from pycontain.cgroups.systemd import Manager, Unit, below, bus_address, parse_cgroups_path
from pycontain.errors import HostError, SpecError

NAME = "org.freedesktop.systemd1"
MANAGER = DBusAddress("/org/freedesktop/systemd1", bus_name=NAME, interface=f"{NAME}.Manager")
OWNER = ":1.1"
UNIT = Unit("machine.slice", "pycontain-abc.scope")


class FakeBus(threading.Thread):
    """A bus with systemd on it: takes one connection, answers, and keeps what was asked."""

    def __init__(self, directory: Path) -> None:
        super().__init__(daemon=True)
        self.path = directory / "bus"
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(self.path))
        self.listener.listen(1)
        self.calls: list[tuple[str, Any]] = []
        #: What the job of a unit ends with; one entry less for every job.
        self.results = ["done", "done", "done"]
        #: Errors by method, each given once.
        self.errors: dict[str, str] = {}
        self.silent_jobs = False
        self.control_group = "/machine.slice/pycontain-abc.scope"
        self._jobs = 0

    @property
    def address(self) -> str:
        return f"unix:path={self.path}"

    def asked(self, method: str) -> list[Any]:
        return [body for name, body in self.calls if name == method]

    def run(self) -> None:
        connection, _ = self.listener.accept()
        with connection, self.listener:
            parser = Parser()
            parser.add_data(self._authenticate(connection))
            while True:
                while message := parser.get_next_message():
                    for reply in self._answer(message):
                        connection.sendall(reply)
                data = connection.recv(65536)
                if not data:
                    return
                parser.add_data(data)

    def _authenticate(self, connection: socket.socket) -> bytes:
        """Agree to everything; return what came after it."""
        text = b""
        while b"BEGIN\r\n" not in text:
            data = connection.recv(1024)
            if not data:
                return b""
            text += data
            if b"AUTH" in data:
                connection.sendall(b"OK 1234deadbeef\r\n")
        return text.partition(b"BEGIN\r\n")[2]

    def _answer(self, message: Any) -> Iterator[bytes]:
        assert message.header.message_type is MessageType.method_call
        method = message.header.fields[HeaderFields.member]
        self.calls.append((method, message.body))
        serial = len(self.calls) * 10
        if method in self.errors:
            error = new_error(message, self.errors.pop(method), "s", ("No such luck.",))
            yield error.serialise(serial=serial)
            return
        job = None
        signature: str | None = "s"
        body: tuple[Any, ...] = (":1.99",)
        if method == "GetNameOwner":
            body = (OWNER,)
        elif method in ("AddMatch", "Subscribe", "ResetFailedUnit"):
            signature, body = None, ()
        elif method in ("StartTransientUnit", "StopUnit"):
            self._jobs += 1
            job = f"/org/freedesktop/systemd1/job/{self._jobs}"
            signature, body = "o", (job,)
        elif method == "GetUnit":
            signature, body = "o", ("/org/freedesktop/systemd1/unit/x",)
        elif method == "Get":
            signature, body = "v", (("s", self.control_group),)
        yield new_method_return(message, signature, body).serialise(serial=serial)
        if job is not None and not self.silent_jobs:
            # somebody else's job, somebody else's lie about ours, and at last the truth
            yield self._removed("/org/freedesktop/systemd1/job/77", "failed", OWNER, serial + 1)
            yield self._removed(job, "failed", ":1.66", serial + 2)
            yield self._removed(job, self.results.pop(0), OWNER, serial + 3)

    def _removed(self, job: str, result: str, sender: str, serial: int) -> bytes:
        signal = new_signal(MANAGER, "JobRemoved", "uoss", (1, job, UNIT.name, result))
        signal.header.fields[HeaderFields.sender] = sender
        data: bytes = signal.serialise(serial=serial)
        return data


@pytest.fixture
def bus(tmp_path: Path) -> Iterator[FakeBus]:
    fake = FakeBus(tmp_path)
    fake.start()
    yield fake
    with socket.socket(socket.AF_UNIX) as late:
        try:
            late.connect(str(fake.path))  # so that it need not wait for a client that never came
        except OSError:
            pass
    fake.join(5)


def test_a_scope_is_started_delegated_and_waited_for(bus: FakeBus) -> None:
    with Manager.connect(user=False, address=bus.address) as manager:
        assert manager.start_scope(UNIT, pids=(42, 43), description="test") == "/machine.slice/pycontain-abc.scope"
    ((name, mode, properties, auxiliary),) = bus.asked("StartTransientUnit")
    assert (name, mode, auxiliary) == ("pycontain-abc.scope", "fail", [])
    assert dict(properties) == {
        "Description": ("s", "test"),
        "Slice": ("s", "machine.slice"),
        "PIDs": ("au", [42, 43]),
        "Delegate": ("b", True),
        "DefaultDependencies": ("b", False),
        "TasksMax": ("t", 2**64 - 1),
        "CollectMode": ("s", "inactive-or-failed"),
    }
    assert [name for name, _ in bus.calls[:4]] == ["Hello", "AddMatch", "GetNameOwner", "Subscribe"]
    assert f"sender='{NAME}'" in bus.asked("AddMatch")[0][0]


def test_a_job_that_fails_is_an_error(bus: FakeBus) -> None:
    bus.results = ["timeout"]
    with (
        Manager.connect(user=False, address=bus.address) as manager,
        pytest.raises(HostError, match=r"pycontain-abc\.scope: systemd's job ended with timeout") as caught,
    ):
        manager.start_scope(UNIT, pids=(1,), description="")
    assert "journalctl -u pycontain-abc.scope" in caught.value.hint


def test_a_failed_scope_of_the_same_name_is_forgotten(bus: FakeBus) -> None:
    bus.errors = {"StartTransientUnit": f"{NAME}.UnitExists"}
    with Manager.connect(user=False, address=bus.address) as manager:
        manager.start_scope(UNIT, pids=(1,), description="")
    assert bus.asked("ResetFailedUnit") == [("pycontain-abc.scope",)]
    assert len(bus.asked("StartTransientUnit")) == 2


def test_a_refusal_is_passed_on(bus: FakeBus) -> None:
    bus.errors = {"StartTransientUnit": "org.freedesktop.DBus.Error.AccessDenied"}
    with (
        Manager.connect(user=False, address=bus.address) as manager,
        pytest.raises(HostError, match="systemd: no such luck") as caught,
    ):
        manager.start_scope(UNIT, pids=(1,), description="")
    assert "cgroupfs" in caught.value.hint


def test_a_scope_without_a_cgroup(bus: FakeBus) -> None:
    bus.control_group = ""
    with (
        Manager.connect(user=False, address=bus.address) as manager,
        pytest.raises(HostError, match="systemd gave it no cgroup"),
    ):
        manager.start_scope(UNIT, pids=(1,), description="")


def test_stop_waits_and_forgets(bus: FakeBus) -> None:
    with Manager.connect(user=False, address=bus.address) as manager:
        manager.stop(UNIT.name)
    assert bus.asked("StopUnit") == [("pycontain-abc.scope", "replace")]
    assert bus.asked("ResetFailedUnit") == [("pycontain-abc.scope",)]


def test_a_bus_that_was_just_started(bus: FakeBus) -> None:
    bus.errors = {"GetNameOwner": "org.freedesktop.DBus.Error.NameHasNoOwner"}
    with Manager.connect(user=True, address=bus.address):
        pass
    assert len(bus.asked("GetNameOwner")) == 2


@pytest.mark.parametrize("method", ["StopUnit", "ResetFailedUnit"])
def test_stopping_what_is_gone_is_no_error(bus: FakeBus, method: str) -> None:
    bus.errors = {method: f"{NAME}.NoSuchUnit"}
    with Manager.connect(user=False, address=bus.address) as manager:
        manager.stop(UNIT.name)


def test_a_job_that_never_ends(bus: FakeBus, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(systemd, "TIMEOUT_S", 0.2)
    bus.silent_jobs = True
    with (
        Manager.connect(user=False, address=bus.address) as manager,
        pytest.raises(HostError, match=r"StopUnit pycontain-abc\.scope: no answer within 0\.2 s"),
    ):
        manager.stop(UNIT.name)


def test_nobody_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(HostError, match="connect to systemd at"):
        Manager.connect(user=False, address=f"unix:path={tmp_path}/none")
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    with pytest.raises(HostError, match="no user manager of systemd answers here") as caught:
        Manager.connect(user=True)
    assert "--cgroup-manager=cgroupfs" in caught.value.hint


def test_where_a_users_manager_listens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.delenv("DBUS_SESSION_BUS_ADDRESS", raising=False)
    assert bus_address(user=True) == ""
    (tmp_path / "systemd").mkdir()
    (tmp_path / "systemd" / "private").touch()
    assert bus_address(user=True) == f"unix:path={tmp_path}/bus"
    monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", "unix:path=/x")
    assert bus_address(user=True) == "unix:path=/x"


@pytest.mark.parametrize(
    ("path", "user", "unit"),
    [
        ("", False, Unit("system.slice", "pycontain-id.scope")),
        ("", True, Unit("user.slice", "pycontain-id.scope")),
        ("a-b.slice:crio:xyz", False, Unit("a-b.slice", "crio-xyz.scope")),
        (":crio:xyz", True, Unit("user.slice", "crio-xyz.scope")),
        ("-.slice::xyz", False, Unit("-.slice", "xyz.scope")),
        ("x.slice:p:", False, Unit("x.slice", "p-id.scope")),
    ],
)
def test_names_of_scopes(path: str, user: bool, unit: Unit) -> None:
    assert parse_cgroups_path(path, "id", user=user) == unit


@pytest.mark.parametrize(
    "path", ["/a/b", "a:b", "a:b:c", "a.slice:b:c:d", "a.slice:b:c.slice", "a/b.slice::c", "é.slice::c"]
)
def test_names_that_are_none(path: str) -> None:
    with pytest.raises(SpecError, match=r"linux\.cgroupsPath"):
        parse_cgroups_path(path, "id", user=False)


def test_the_container_goes_below_the_scope() -> None:
    layout = CgroupLayout("v2", Hierarchy("/sys/fs/cgroup", "/user.slice/x", "/"))
    paths = below(layout, "/machine.slice/pycontain-abc.scope")
    scope = "/sys/fs/cgroup/machine.slice/pycontain-abc.scope"
    assert (paths.unified, paths.anchor, paths.own) == (f"{scope}/container", scope, scope)
