"""What only Docker has: health checks on a clock, the runtime's name, device rules, images made of containers."""

from __future__ import annotations

import json

import pytest
from harness.engines import Engine
from harness.probe import requires
from harness.waiting import until

pytestmark = [requires("root"), pytest.mark.background("room", "docker_image")]


def test_health(docker: Engine) -> None:
    """The daemon runs the check by exec, again and again."""
    check = ("--health-cmd", "test -e /tmp/healthy", "--health-interval", "300ms", "--health-retries", "1")
    name = docker.start("sleep 1000", *check)
    until(lambda: docker.inspect(name, ".State.Health.Status") == "unhealthy", 20)
    docker.ok("exec", name, "touch", "/tmp/healthy")
    until(lambda: docker.inspect(name, ".State.Health.Status") == "healthy", 20)


def test_runtime_is_known(docker: Engine) -> None:
    """Docker info lists it, and a container tells its own."""
    assert docker.runtime in json.loads(docker.ok("info", "--format", "{{json .Runtimes}}"))
    name = docker.start("sleep 1000")
    assert docker.inspect(name, ".HostConfig.Runtime") == docker.runtime


def test_device_rules(docker: Engine) -> None:
    """--device-cgroup-rule opens a device to a node that the container makes itself."""
    script = "mknod /tmp/fuse c 10 229; head -c 0 /tmp/fuse 2>&1; true"
    assert "not permitted" in docker.shell(script)
    for rule in ("c 10:229 r", "c 10:* r", "a *:* rwm"):
        assert "not permitted" not in docker.shell(script, "--device-cgroup-rule", rule)


def test_commit(docker: Engine) -> None:
    """What a container wrote becomes an image that runs."""
    name = docker.start("echo kept >/kept; sleep 1000")
    until(lambda: docker.command("exec", name, "cat", "/kept").stdout == "kept\n", 10)
    assert "A /kept" in docker.ok("diff", name)
    image = f"committed-{docker.runtime}"
    docker.ok("commit", name, image)
    assert docker.ok(*docker.run_argv(image, "cat", "/kept")) == "kept"
    docker.ok("rmi", image)
