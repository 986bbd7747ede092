"""``--systemd-cgroup`` under a real systemd: containers in scopes that it makes."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from harness import systemd
from harness.oci import PROGRAM, config
from harness.probe import requires

pytestmark = [
    requires("root", "pure-cgroup2", "program:dbus-daemon", "program:systemctl"),
    pytest.mark.guest("uml"),
    # systemd takes the whole hierarchy: only where there is nothing else in it
    pytest.mark.skipif("PYCONTAIN_GUEST" not in os.environ, reason="boots a systemd: only in a guest"),
]
#: What an engine does, as root; what came of it goes into the file of the second argument.
SCRIPT = """
import json, os, subprocess, sys, time
said = {{}}
def run(*words, systemd=True):
    start = [{program!r}, "--root", sys.argv[2] + ".root"] + (["--systemd-cgroup"] if systemd else [])
    null = subprocess.DEVNULL
    with open(sys.argv[2] + ".out", "w+") as out:
        code = subprocess.run([*start, *words], stdin=null, stdout=out, stderr=out).returncode
        out.seek(0)
        return [code, out.read()]
def show(unit, name):
    words = ["systemctl", "show", "-P", name, unit]
    return subprocess.run(words, capture_output=True, text=True).stdout.strip()
def read(path):
    with open(path) as file:
        return file.read().strip()
if sys.argv[1] == "system":
    bundle = {bundle!r}
    said["create"] = run("create", "--bundle", bundle, "abc")
    assert said["create"][0] == 0, said["create"]
    pid = json.loads(run("state", "abc")[1])["pid"]
    group = said["group"] = read("/proc/%d/cgroup" % pid).removeprefix("0::")
    said["limit"] = read("/sys/fs/cgroup" + group + "/pids.max")
    with os.scandir("/sys/fs/cgroup" + os.path.dirname(group)) as entries:
        said["below"] = sorted(entry.name for entry in entries if entry.is_dir())
    said["state"] = show("test-abc.scope", "ActiveState")
    said["slice"] = show("test-abc.scope", "Slice")
    said["delegate"] = show("test-abc.scope", "Delegate")
    said["properties"] = [show("test-abc.scope", name) for name in ("TimeoutStopUSec", "Description", "After")]
    subprocess.run(["systemctl", "daemon-reload"])
    said["reloaded"] = read("/sys/fs/cgroup" + group + "/pids.max")
    said["again"] = run("create", "--bundle", bundle, "other")
    said["start"] = run("start", "abc")
    said["update"] = run("update", "--pids-limit", "9", "abc")
    said["updated"] = read("/sys/fs/cgroup" + group + "/pids.max")
    said["delete"] = run("delete", "--force", "abc")
    said["gone"] = [show("test-abc.scope", "LoadState"), os.path.exists("/sys/fs/cgroup" + os.path.dirname(group))]
    said["run"] = [run("run", "--bundle", {short!r}, "abc") for _ in range(3)]
    said["path"] = run("run", "--bundle", {wrong!r}, "abc")
    said["property"] = run("run", "--bundle", {odd!r}, "abc")
    said["unknown"] = run("run", "--bundle", {unknown!r}, "abc")
    said["left"] = [name for name in os.listdir(sys.argv[2] + ".root") if not name.startswith(".")]
with open(sys.argv[2], "w") as file:
    json.dump(said, file)
"""


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory, busybox: Path) -> dict[str, Any]:
    """Return what the script said."""
    output = tmp_path_factory.mktemp("systemd", numbered=True)
    bundles = []
    properties = {"TimeoutStopSec": "uint32 7", "Description": "'one of ours'", "After": "['other.service']"}
    for name, path, args, asked in (
        ("long", "test.slice:test:abc", ("sleep", "100"), properties),
        ("short", "test.slice:test:abc", ("cat", "/proc/self/cgroup"), {}),
        ("wrong", "/test/abc", ("true",), {}),
        ("odd", "test.slice:test:abc", ("true",), {"PIDs": "[uint32 1]"}),
        ("unknown", "test.slice:test:abc", ("true",), {"NonesuchProperty": "true"}),
    ):
        document = config(busybox, *args)
        document["annotations"] = {f"org.systemd.property.{key}": value for key, value in asked.items()}
        document["linux"] |= {"cgroupsPath": path, "resources": {"pids": {"limit": 7}}}
        (output / name).mkdir()
        (output / name / "config.json").write_text(json.dumps(document))
        bundles.append(str(output / name))
    script = output / "script.py"
    words = dict(zip(("bundle", "short", "wrong", "odd", "unknown"), bundles, strict=True))
    script.write_text(SCRIPT.format(program=str(PROGRAM), **words))
    done = systemd.boot(script, output)
    if not (output / "system").exists():
        pytest.fail(f"nothing said\n{done.stdout}{done.stderr}\n{(output / 'stderr').read_text()}")
    found: dict[str, Any] = json.loads((output / "system").read_text())
    return found


def test_a_scope_in_its_slice(said: dict[str, Any]) -> None:
    """G2: slice:prefix:name, delegated; the container is below it, and nobody else any more."""
    assert said["create"] == [0, ""]
    assert said["group"] == "/test.slice/test-abc.scope/container"
    assert (said["state"], said["slice"], said["delegate"]) == ("active", "test.slice", "yes")
    assert said["below"] == ["container"]


def test_properties_of_annotations(said: dict[str, Any]) -> None:
    """G2: as runc and crun hand them to systemd; one that is none, or that would move strangers, is an error."""
    timeout, description, after = said["properties"]
    assert (timeout, description) == ("7s", "one of ours")
    assert "other.service" in after.split()
    assert said["property"][0] == said["unknown"][0] == 1
    assert "annotations" in said["property"][1]
    assert "NonesuchProperty" in said["unknown"][1]


def test_limits_are_the_container_s(said: dict[str, Any]) -> None:
    """G4: systemd does not write them anew."""
    assert (said["limit"], said["reloaded"]) == ("7", "7")
    assert (said["update"], said["updated"]) == ([0, ""], "9")


def test_one_scope_of_a_name(said: dict[str, Any]) -> None:
    """G2, L3: a second one is refused, and the first goes on."""
    code, text = said["again"]
    assert code == 1
    assert "already" in text
    assert said["start"] == [0, ""]


def test_delete_waits_for_the_end_of_the_scope(said: dict[str, Any]) -> None:
    """G13: the name can be used again at once, and nothing is left."""
    assert said["delete"] == [0, ""]
    assert said["gone"] == ["not-found", False]
    assert said["run"] == [[0, "0::/test.slice/test-abc.scope/container\n"]] * 3
    assert said["left"] == []


def test_a_path_of_another_form(said: dict[str, Any]) -> None:
    """G2: is an error."""
    code, text = said["path"]
    assert code == 1
    assert "slice:prefix:name" in text
