"""linux.seccomp: actions, flags, arguments, and listeners of filters that notify."""

from __future__ import annotations

from typing import Any

import pytest
from harness.filters import MKDIR, SIGSYS, filtered, listening, profile
from harness.oci import Oci
from harness.probe import requires

from pycontain.spec.seccomp import ARCHITECTURES, FLAGS

pytestmark = requires("root")


# -- S1 to S4, S6, S8


@pytest.mark.parametrize("no_new_privileges", [True, False])
def test_a_call_is_refused(oci: Oci, no_new_privileges: bool) -> None:
    """S1, S6: the filter is in force, with and without noNewPrivileges, for exec too."""
    document = filtered(oci, "sh", "-c", "mkdir /tmp/x || ls -d /tmp /tmp/x", errnoRet=28)
    document["process"]["noNewPrivileges"] = no_new_privileges
    done = oci.run("run", "-b", oci.bundle(document), "c")
    assert "No space left on device" in done.stderr
    assert done.stdout == "/tmp\n"
    document["process"]["args"] = ["sleep", "100"]
    oci.ok("run", "--detach", "-b", oci.bundle(document), "c")
    assert "No space left on device" in oci.fails("exec", "c", "mkdir", "/tmp/x")
    assert "Seccomp:\t2" in oci.ok("exec", "c", "cat", "/proc/self/status")


@pytest.mark.parametrize(
    ("action", "code"),
    [
        ("SCMP_ACT_KILL", 128 + SIGSYS),
        ("SCMP_ACT_KILL_PROCESS", 128 + SIGSYS),
        ("SCMP_ACT_KILL_THREAD", 128 + SIGSYS),
        ("SCMP_ACT_TRAP", 128 + SIGSYS),
        ("SCMP_ACT_ERRNO", 1),
        # without a tracer it is as if the call did not exist
        ("SCMP_ACT_TRACE", 1),
        ("SCMP_ACT_ALLOW", 0),
        ("SCMP_ACT_LOG", 0),
    ],
)
def test_actions(oci: Oci, action: str, code: int) -> None:
    """S1: what each action does to a program."""
    document = filtered(oci, "mkdir", "/tmp/x", action=action)
    if action == "SCMP_ACT_ALLOW":
        profile(document)["defaultAction"] = "SCMP_ACT_LOG"
    assert oci.run("run", "-b", oci.bundle(document), "c").returncode == code


def test_killing_everything_hangs_nobody(oci: Oci) -> None:
    """S10: a default action of KILL and no rules ends the program at once, whose exit code is 159."""
    document = oci.config("true")
    document["linux"]["seccomp"] = {"defaultAction": "SCMP_ACT_KILL"}
    assert oci.run("run", "-b", oci.bundle(document), "c", timeout=20).returncode == 128 + SIGSYS
    document["process"]["noNewPrivileges"] = True
    assert oci.run("run", "-b", oci.bundle(document), "c", timeout=20).returncode == 128 + SIGSYS
    oci.ok("create", "-b", oci.bundle(document), "c")
    oci.run("start", "c", timeout=20)
    oci.wait("c", "stopped")
    oci.ok("delete", "c")


def test_arguments(oci: Oci) -> None:
    """S4: conditions on arguments; several on one argument are alternatives; MASKED_EQ takes valueTwo."""
    # busybox makes the directory with 0777 and changes its mode afterwards
    two = [{"index": 1, "value": mode, "op": "SCMP_CMP_EQ"} for mode in (0o777, 0o750)]
    neither = [{"index": 1, "value": mode, "op": "SCMP_CMP_EQ"} for mode in (0o700, 0o750)]
    masked = {"index": 1, "value": 0o777, "valueTwo": 0o777, "op": "SCMP_CMP_MASKED_EQ"}
    for args, code in (
        (two, 1),
        (neither, 0),
        ([masked], 1),
        ([{**masked, "valueTwo": 0o700}], 0),
        ([{**masked, "value": 0o70, "valueTwo": 0o70}], 1),
    ):
        document = filtered(oci, "sh", "-c", "umask 0; mkdir -m 700 /tmp/x", names=["mkdir"], args=args)
        assert oci.run("run", "-b", oci.bundle(document), "c").returncode == code


def test_names_and_architectures(oci: Oci) -> None:
    """S1, S8: every name of an architecture or flag is taken; unknown system calls are passed over."""
    document = filtered(oci, "mkdir", "/tmp/x", names=["nonesuch", *MKDIR])
    profile(document).update(architectures=list(ARCHITECTURES), flags=[FLAGS[0], FLAGS[1], FLAGS[2]])
    assert "not permitted" in oci.fails("run", "-b", oci.bundle(document), "c")
    for change in (
        {"architectures": ["SCMP_ARCH_NONE"]},
        {"flags": ["SECCOMP_FILTER_FLAG_NONE"]},
        {"defaultAction": "SCMP_ACT_NONE"},
        {"defaultErrnoRet": 1},
        {"listenerMetadata": "x"},
        {"defaultAction": "SCMP_ACT_NOTIFY", "listenerPath": "/x"},
    ):
        wrong = filtered(oci, "true")
        profile(wrong).update(change)
        assert "linux.seccomp" in oci.refuses(wrong)


def test_rules_that_are_none(oci: Oci) -> None:
    """S2, S3, S5: no names, an errno where there is none, notification of write or without a listener."""
    for rule in (
        {"names": []},
        {"names": [""]},
        {"action": "SCMP_ACT_ALLOW", "errnoRet": 1},
        {"args": [{"index": 6, "value": 0, "op": "SCMP_CMP_EQ"}]},
        {"args": [{"index": 0, "value": 0, "op": "SCMP_CMP_XX"}]},
        {"action": "SCMP_ACT_NOTIFY"},
        {"action": "SCMP_ACT_NOTIFY", "names": ["write"]},
    ):
        assert "linux.seccomp" in oci.refuses(filtered(oci, "true", **rule))


# -- S5


def notified(oci: Oci, *args: str, **members: Any) -> Any:
    document = filtered(oci, *args, action="SCMP_ACT_NOTIFY")
    profile(document).update(listenerPath=str(oci.place / "listener"), **members)
    return document


@pytest.mark.parametrize("no_new_privileges", [True, False])
def test_a_listener_gets_the_state_and_answers(oci: Oci, no_new_privileges: bool) -> None:
    """S5: one document, one descriptor named seccompFd with its first bytes, then the end; the answer counts."""
    document = notified(oci, "sh", "-c", "mkdir /tmp/x && ls /tmp", listenerMetadata="data of ours")
    document["annotations"] = {"org.example": "x" * 300_000}
    document["process"]["noNewPrivileges"] = no_new_privileges
    with listening(oci.place / "listener") as server:
        oci.ok("create", "-b", oci.bundle(document), "--pid-file", oci.place / "pid", "c")
        assert server.messages == []
        oci.ok("start", "c")
        oci.wait("c", "stopped")
    pid = int((oci.place / "pid").read_text())
    [(message, fds)] = server.messages
    assert fds == 1
    assert message == {
        "ociVersion": message["ociVersion"],
        "fds": ["seccompFd"],
        "pid": pid,
        "metadata": "data of ours",
        "state": {
            "ociVersion": message["ociVersion"],
            "id": "c",
            "status": "created",
            "pid": pid,
            "bundle": str(oci.place / "bundle"),
            "annotations": document["annotations"],
        },
    }
    assert len(server.calls) == 1


def test_run_and_exec_tell_the_listener_each(oci: Oci) -> None:
    """S5: every process that gets the filter is told of, with its own process id."""
    with listening(oci.place / "listener", errno=28) as server:
        assert "No space left" in oci.fails("run", "-b", oci.bundle(notified(oci, "mkdir", "/tmp/x")), "c")
        oci.ok("run", "--detach", "-b", oci.bundle(notified(oci, "sleep", "100")), "c")
        assert "No space left" in oci.fails("exec", "c", "mkdir", "/tmp/x")
        oci.ok("delete", "--force", "c")
    first, second, third = (message for message, _ in server.messages)
    assert first["state"]["pid"] == first["pid"]
    assert third["state"]["pid"] == second["pid"] != third["pid"]
    assert [message["state"]["status"] for message in (first, second, third)] == ["created", "created", "running"]
    assert "metadata" not in first


def test_a_listener_that_is_not_there(oci: Oci) -> None:
    """S5: nobody to listen is an error of create; one that has gone is an error of start, and nothing runs."""
    document = notified(oci, "sleep", "100")
    listener = oci.place / "listener"
    assert "linux.seccomp.listenerPath" in oci.refuses(document)
    listener.touch()
    assert "not a socket" in oci.refuses(document)
    listener.unlink()
    with listening(listener):
        oci.ok("create", "-b", oci.bundle(document), "c")
    assert "linux.seccomp.listenerPath" in oci.fails("start", "c")
    assert oci.state("c")["status"] == "created"
    listener.unlink()
    with listening(listener) as server:
        oci.ok("start", "c")
        assert oci.state("c")["status"] == "running"
        oci.ok("delete", "--force", "c")
    assert len(server.messages) == 1
    assert "linux.seccomp.listenerPath" in oci.refuses(document)


def test_a_listener_without_notification_is_ignored(oci: Oci) -> None:
    """S5: listenerPath means nothing where no rule notifies."""
    document = filtered(oci, "true")
    profile(document)["listenerPath"] = "/nonexistent"
    oci.runs(document)


def test_a_program_that_is_notified_of_its_own_start(oci: Oci) -> None:
    """S5: execve itself may be answered for."""
    document = notified(oci, "true")
    profile(document)["syscalls"][0]["names"] = ["execve"]
    with listening(oci.place / "listener", errno=13) as server:
        assert "permission denied" in oci.fails("run", "-b", oci.bundle(document), "c")
    # once for each directory of PATH
    assert len(server.calls) == 3
    assert len(set(server.calls)) == 1
