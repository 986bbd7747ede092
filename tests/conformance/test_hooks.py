"""Hooks of all six kinds."""

from __future__ import annotations

import json
import os
import time
from typing import Any

import pytest
from harness.cli import describe
from harness.oci import Oci
from harness.probe import requires
from harness.processes import command_lines
from harness.waiting import until

pytestmark = requires("root")

KINDS = ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")
OUTSIDE = ("prestart", "createRuntime", "poststart", "poststop")


def shell(script: str, *words: str, **more: Any) -> dict[str, Any]:
    return {"path": "/bin/sh", "args": ["sh", "-c", script, *words], "env": ["PATH=/usr/bin:/bin"], **more}


def with_hooks(oci: Oci, *args: str, **hooks: list[dict[str, Any]]) -> dict[str, Any]:
    """Return a configuration with hooks and a directory that both sides write to."""
    shared = oci.place / "shared"
    shared.mkdir(exist_ok=True)
    document = oci.config(*args)
    document["mounts"].append({"destination": "/tmp/shared", "source": str(shared), "options": ["bind"]})
    document["hooks"] = hooks
    return document


def record(oci: Oci, kind: str, number: int = 0) -> dict[str, Any]:
    """Return a hook that writes down what it sees."""
    place = "/tmp/shared" if kind == "startContainer" else str(oci.place / "shared")
    name = f"{kind}{number}"
    return shell(f"cd {place}; cat > {name}; readlink /proc/self/ns/mnt > {kind}.mnt; echo {name} >> order")


def test_order_and_state(oci: Oci) -> None:
    """L4, H1, H2, H8: each kind at its time, in the order of the list, with the state on standard input."""
    hooks = {kind: [record(oci, kind, 0), record(oci, kind, 1)] for kind in KINDS}
    document = with_hooks(oci, "sh", "-c", "echo program >> /tmp/shared/order; sleep 100", **hooks)
    document["annotations"] = {"org.example": "x" * 65536}
    shared = oci.place / "shared"
    oci.ok("create", "-b", oci.bundle(document), "c")
    first = [f"{kind}{number}" for kind in KINDS[:3] for number in (0, 1)]
    assert (shared / "order").read_text().split() == first
    oci.ok("start", "c")
    until(lambda: len((shared / "order").read_text().split()) >= 11)
    order = (shared / "order").read_text().split()
    assert order[:8] == [*first, "startContainer0", "startContainer1"]
    assert sorted(order[8:]) == ["poststart0", "poststart1", "program"]
    pid = oci.state("c")["pid"]
    oci.ok("kill", "c", "KILL")
    oci.wait("c", "stopped")
    oci.ok("delete", "c")
    assert (shared / "order").read_text().split()[11:] == ["poststop0", "poststop1"]
    statuses = ("created", "created", "created", "created", "running", "stopped")
    for kind, status in zip(KINDS, statuses, strict=True):
        state = json.loads((shared / f"{kind}1").read_text())
        assert (state["id"], state["status"]) == ("c", status)
        assert state["bundle"] == str(oci.place / "bundle")
        assert state["annotations"] == document["annotations"]
        assert state.get("pid") == (None if kind == "poststop" else pid if kind in OUTSIDE else 1)
    for kind in KINDS:
        ours = (shared / f"{kind}.mnt").read_text().strip() == os.readlink("/proc/self/ns/mnt")
        assert ours == (kind in OUTSIDE), kind


def test_mounts_of_hooks_are_the_containers(oci: Oci) -> None:
    """H6: createRuntime finds the mounts made, createContainer mounts in the root at its place on the host."""
    source = oci.place / "source"
    source.write_text("from a hook\n")
    target = oci.rootfs / "tmp"
    script = f"mount --bind {source} {oci.rootfs}/etc/hostname && test -e {target}/shared"
    document = with_hooks(
        oci,
        "cat",
        "/etc/hostname",
        createRuntime=[shell("nsenter -m -t $(sed 's/.*\"pid\": *\\([0-9]*\\).*/\\1/') test -d " + f"{target}/shared")],
        createContainer=[shell(script)],
    )
    if not (oci.rootfs / "etc" / "hostname").exists():
        document["process"]["args"] = ["cat", "/etc/passwd"]
        document["hooks"]["createContainer"] = [shell(script.replace("/etc/hostname", "/etc/passwd"))]
    assert oci.runs(document) == "from a hook\n"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("hook", "text"),
    [
        (shell("echo told >&2; exit 3"), "exit status 3: told"),
        (shell("sleep 100 & sleep 100", timeout=1), "did not end within 1 s"),
        ({"path": "/nonexistent"}, "no such file or directory"),
        ({"path": "/etc/passwd"}, "permission denied"),
        (shell("kill -9 $$"), "signal 9"),
    ],
    ids=["fails", "hangs", "missing", "not-executable", "killed"],
)
def test_failures(oci: Oci, kind: str, hook: dict[str, Any], text: str) -> None:
    """H5, H7: a hook that fails ends the container and names itself; poststop only warns and the others run."""
    others = [shell(f"touch {oci.place}/shared/after")]
    document = with_hooks(oci, "sleep", "100", **{kind: [hook]})
    document["hooks"].setdefault("poststop", []).extend(others)
    bundle = oci.bundle(document)
    if kind == "poststop":
        document["process"]["args"] = ["true"]
        done = oci.run("run", "-b", oci.bundle(document), "c")
        assert done.returncode == 0, describe(done)
        assert "hooks.poststop[0]" in done.stderr
        assert text in done.stderr
    else:
        said = oci.fails("run", "--detach", "-b", bundle, "c")
        assert f"hooks.{kind}[0]" in said
        assert text in said
    assert oci.left() == []
    assert (oci.place / "shared" / "after").exists()


def test_a_hook_that_times_out_takes_its_group_along(oci: Oci) -> None:
    """H5: the process group is killed."""
    mark = "98.7654"
    document = with_hooks(oci, "true", createRuntime=[shell(f"sleep {mark} & sleep {mark}", timeout=1)])
    oci.fails("run", "-b", oci.bundle(document), "c")
    until(lambda: not any(mark in " ".join(words) for _, words in command_lines()))


def test_a_hook_that_times_out_is_killed_in_another_group(oci: Oci) -> None:
    """H5: also where it has left its own."""
    script = "import os, time; os.setpgid(0, os.getpgid(os.getppid())); time.sleep(98.7655)"
    hook = {"path": "/usr/bin/python3", "args": ["python3", "-c", script], "timeout": 1}
    document = with_hooks(oci, "true", createRuntime=[hook])
    assert "did not end within 1 s" in oci.fails("run", "-b", oci.bundle(document), "c", timeout=20)
    assert not any(script in words for _, words in command_lines())


@pytest.mark.parametrize("nnp", [False, True])
def test_hooks_in_the_container_are_bound_as_its_program_is(oci: Oci, nnp: bool) -> None:
    """H2, S1: they are the container's programs: its filter and rights, nothing of the runtime's environment."""
    script = "cd /tmp/shared; env > env; grep -E 'Seccomp:|NoNewPrivs|Cap[PEB]' /proc/self/status > rights"
    hook = {"path": "/bin/sh", "args": ["sh", "-c", script]}
    document = with_hooks(oci, "cat", "/proc/self/status", startContainer=[hook])
    names = ["CAP_KILL", "CAP_SYS_CHROOT"]
    document["process"]["capabilities"] = {"bounding": names, "permitted": names, "effective": names}
    document["process"].update(noNewPrivileges=nnp, env=["PATH=/usr/bin:/bin:/usr/sbin", "INSIDE=1"])
    document["linux"]["seccomp"] = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["reboot"], "action": "SCMP_ACT_ERRNO"}],
    }
    said = oci.ok("run", "-b", oci.bundle(document), "c", env={**os.environ, "SECRET": "of the host"})
    shared = oci.place / "shared"
    environment = dict(line.split("=", 1) for line in (shared / "env").read_text().splitlines())
    assert {name for name in environment if name not in ("PWD", "OLDPWD", "SHLVL", "_")} == {"PATH", "INSIDE", "HOME"}
    rights = (shared / "rights").read_text().splitlines()
    assert "Seccomp:\t2" in rights
    assert len(rights) == 5
    # the program itself is what it is compared with
    assert set(rights) <= set(said.splitlines())


@pytest.mark.parametrize(
    "script",
    [
        "exec <&-; exit 0",
        "head -c 1048576 /dev/zero",
        "sleep 3 >/dev/null 2>&1 </dev/null & exit 0",
        "sleep 2 & exit 0",
    ],
    ids=["closes stdin", "says a lot", "leaves a daemon", "leaves one that holds the pipe"],
)
def test_odd_hooks_that_succeed(oci: Oci, script: str) -> None:
    """H2: a hook need not read, may say much, and has ended when its own process has."""
    document = with_hooks(oci, "true", createRuntime=[shell(script)], createContainer=[shell(script)])
    document["annotations"] = {"org.example": "x" * 65536}
    begun = time.monotonic()
    oci.runs(document)
    assert time.monotonic() - begun < 2


def test_environment_is_exact(oci: Oci) -> None:
    """H4: args with argv[0], and only the listed environment."""
    file = oci.place / "shared" / "env"
    hook = {
        "path": "/bin/sh",
        "args": ["zero", "-c", f"echo $0 $1 > {file}; env | grep -v '^_\\|PWD\\|SHLVL' >> {file}", "a", "b"],
        "env": ["ONE=1"],
    }
    oci.runs(with_hooks(oci, "true", createRuntime=[hook]))
    assert file.read_text() == "a b\nONE=1\n"


@pytest.mark.parametrize("change", [{"path": "bin/sh"}, {"timeout": 0}, {"timeout": -1}])
def test_what_is_no_hook(oci: Oci, change: dict[str, Any]) -> None:
    """H3, H5: paths are absolute and timeouts above zero."""
    assert "hooks.poststop[0]" in oci.refuses(with_hooks(oci, "true", poststop=[{**shell("true"), **change}]))


def test_a_hook_may_ask_for_the_state(oci: Oci) -> None:
    """L9: while hooks run, the container is being created."""
    command = " ".join(oci.argv("state", "c"))
    script = f"{command} > {oci.place}/shared/state"
    oci.runs(with_hooks(oci, "true", createRuntime=[shell(script)]))
    assert json.loads((oci.place / "shared" / "state").read_text())["status"] == "creating"


@pytest.mark.parametrize("detach", [False, True], ids=["foreground", "detached"])
def test_hooks_of_run_are_in_the_caller_s_mounts(oci: Oci, detach: bool) -> None:
    """H6, H8: also those that follow the start, for which run has left them by then; each runs once."""
    hooks = {kind: [record(oci, kind)] for kind in OUTSIDE}
    document = with_hooks(oci, "sh", "-c", "sleep 100" if detach else "sleep 0.1", **hooks)
    oci.ok("run", *(["--detach"] if detach else []), "-b", oci.bundle(document), "c")
    if detach:
        oci.ok("delete", "--force", "c")
    shared = oci.place / "shared"
    assert (shared / "order").read_text().split() == [f"{kind}0" for kind in OUTSIDE]
    own = os.readlink("/proc/self/ns/mnt")
    assert {kind: (shared / f"{kind}.mnt").read_text().strip() for kind in OUTSIDE} == dict.fromkeys(OUTSIDE, own)


@pytest.mark.parametrize("how", ["run", "detached", "start"])
def test_a_poststart_hook_that_fails_ends_the_container_once(oci: Oci, how: str) -> None:
    """H7: everything is undone, the poststop hooks run, and nothing of it twice."""
    hooks = {"poststart": [shell("exit 1")], "poststop": [record(oci, "poststop")]}
    bundle = oci.bundle(with_hooks(oci, "sleep", "100", **hooks))
    if how == "start":
        oci.ok("create", "-b", bundle, "c")
        oci.fails("start", "c")
    else:
        oci.fails("run", *(["--detach"] if how == "detached" else []), "-b", bundle, "c")
    assert (oci.place / "shared" / "order").read_text() == "poststop0\n"
    assert (oci.place / "shared" / "poststop.mnt").read_text().strip() == os.readlink("/proc/self/ns/mnt")
    assert oci.left() == []


def test_a_bundle_may_go_before_its_container(oci: Oci) -> None:
    """H8: a poststop hook of run runs all the same."""
    shared = oci.place / "shared"
    hooks = {
        "poststart": [shell(f"rm -r {oci.place}/gone && touch {shared}/go")],
        "poststop": [shell(f"touch {shared}/after")],
    }
    document = with_hooks(oci, "sh", "-c", "until test -e /tmp/shared/go; do sleep 0.05; done", **hooks)
    oci.ok("run", "-b", oci.bundle(document, "gone"), "c")
    assert (shared / "after").exists()
