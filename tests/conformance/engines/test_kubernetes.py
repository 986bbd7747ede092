"""containerd's CRI plugin, driven as a kubelet drives it: a pod sandbox, containers in it, exec, limits, the end."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from harness.cri import EXITED, RUNNING, CallError, RuntimeService, decode
from harness.engines import PARENT, Room
from harness.probe import has, requires
from harness.waiting import until

pytestmark = [requires("root", "program:curl"), pytest.mark.background("room", "kubernetes_image")]

IMAGE = "localhost/busybox:latest"

#: NamespaceOption: the node's network, for there is no CNI here; each container its own processes.
NAMESPACES = {1: 2, 2: 1}


class Pod:
    """A pod sandbox under a runtime class."""

    def __init__(self, service: RuntimeService, runtime: str) -> None:
        self.service = service
        self.config = {
            1: {1: "pod", 2: f"uid-{runtime}", 3: "default"},
            3: "/run/engines/pod-logs",
            8: {1: f"/{PARENT}", 2: {1: NAMESPACES}},
        }
        self.id = self.text("RunPodSandbox", {1: self.config, 2: runtime})

    def text(self, method: str, request: dict[int, Any]) -> str:
        """Return the first field of an answer."""
        return str(self.service.call(method, request)[1][0].decode())

    def start(self, name: str, script: str, linux: dict[int, Any] | None = None, **more: Any) -> str:
        """Create and start a container; ``more`` are fields by ``f`` and number."""
        linux = linux or {}
        linux.setdefault(2, {}).setdefault(3, NAMESPACES)
        config = {1: {1: name}, 2: {1: IMAGE}, 3: ["sh", "-c", script], 11: f"{name}.log", 15: linux}
        config |= {int(key[1:]): value for key, value in more.items()}
        container = self.text("CreateContainer", {1: self.id, 2: config, 3: self.config})
        self.service.call("StartContainer", {1: container})
        return container

    def status(self, container: str) -> tuple[int, int]:
        """Return state and exit code."""
        status = decode(self.service.call("ContainerStatus", {1: container})[1][0])
        return status.get(3, [0])[0], status.get(7, [0])[0]

    def exec(self, container: str, *argv: str) -> tuple[int, str]:
        """Run a command to its end; return exit code and output."""
        answer = self.service.call("ExecSync", {1: container, 2: list(argv), 3: 20})
        return answer.get(3, [0])[0], answer.get(1, [b""])[0].decode()


@pytest.fixture
def pod(room: Room, runtime: str) -> Iterator[Pod]:
    """Yield a pod that is removed at the end."""
    made = Pod(RuntimeService(room.path / "containerd.sock"), runtime)
    try:
        yield made
    finally:
        made.service.call("StopPodSandbox", {1: made.id})
        made.service.call("RemovePodSandbox", {1: made.id})


def test_pod(room: Room, pod: Pod) -> None:
    """Two containers: what they are told, their logs, exec, exit codes, stop and remove."""
    script = "echo A=$A; id -u; sleep 1000"
    user = {2: {3: NAMESPACES, 5: {1: 8}, 1: {1: ["SYS_TIME"], 2: ["MKNOD"]}, 11: True}}
    first = pod.start("first", script, user, f6=[{1: "A", 2: "1"}], f5="/var")
    log = room.path / "pod-logs" / "first.log"
    until(lambda: log.exists() and "stdout F 8" in log.read_text(), 10)
    assert "stdout F A=1" in log.read_text()
    assert pod.status(first) == (RUNNING, 0)
    code, said = pod.exec(first, "sh", "-c", "pwd; grep NoNewPrivs /proc/self/status; exit 5")
    assert (code, said) == (5, "/var\nNoNewPrivs:\t1\n")
    second = pod.start("second", "exit 3")
    until(lambda: pod.status(second) == (EXITED, 3), 10)
    with pytest.raises(CallError, match="executable file not found"):
        pod.start("third", "", f3=["nonesuch"])
    pod.service.call("StopContainer", {1: first, 2: 0})
    assert pod.status(first) == (EXITED, 137)
    pod.service.call("RemoveContainer", {1: first})


@requires("cgroup:memory")
def test_resources(pod: Pod) -> None:
    """Limits of a container, changed while it runs, and its statistics."""
    container = pod.start("limited", "sleep 1000", {1: {1: 100000, 2: 50000, 3: 512, 4: 64 << 20}})
    file = "memory.max" if has("pure-cgroup2") else "memory/memory.limit_in_bytes"
    assert pod.exec(container, "cat", f"/sys/fs/cgroup/{file}") == (0, f"{64 << 20}\n")
    pod.service.call("UpdateContainerResources", {1: container, 2: {4: 96 << 20}})
    assert pod.exec(container, "cat", f"/sys/fs/cgroup/{file}") == (0, f"{96 << 20}\n")
    assert pod.service.call("ContainerStats", {1: container})[1]
