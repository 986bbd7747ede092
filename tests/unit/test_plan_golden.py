"""Plans of whole command lines, compared with the files in ``tests/data/plans``.

A difference is a change of what is done to make a container: read it, and when it is meant, write the files anew with
``python -m pytest tests/unit/test_plan_golden.py --update-golden``.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from unit.golden_plans import AUTO, HYBRID, IDENTITY, JOINED, NO_USERNS, RANGE, SINGLE, Host, plan_of

from pycontain.plan import explain
from pycontain.plan.rootfs import SystemMount

DIRECTORY = Path(__file__).parents[1] / "data" / "plans"
USR = (SystemMount("/usr", "/usr"), SystemMount("/var", "/var"))

#: name of the file -> (words after ``run``, host)
CASES: dict[str, tuple[str, Host]] = {
    "directory": ("/srv/busybox /bin/true", Host()),
    "directory-hybrid": ("/srv/busybox /bin/true", Host(cgroup_trees=HYBRID)),
    "directory-no-cgroup": ("/srv/busybox /bin/true", Host(cgroup_trees=())),
    "host": ("@host true", Host()),
    "host-system-mounts": ("--host-include /home/me @host true", Host(mounts=USR)),
    "host-public": ("@host:public true", Host(mounts=USR)),
    "host-identity": ("@host true", Host(userns=IDENTITY)),
    "rootless-single": ("/srv/busybox true", Host(userns=SINGLE, privileged=False, cgroup_trees=())),
    "rootless-range": ("-v /home/me:/data /srv/busybox true", Host(userns=RANGE, privileged=False)),
    "rootless-host": ("@host true", Host(userns=SINGLE, privileged=False, cgroup_trees=())),
    "identity": ("-v /data:/data /srv/busybox true", Host(userns=IDENTITY)),
    "privileged": ("--privileged /srv/busybox true", Host(userns=NO_USERNS)),
    "userns-host": ("--userns host -v /data:/data:ro /srv/busybox true", Host(userns=NO_USERNS)),
    "writable": ("--writable /srv/busybox true", Host()),
    "read-only": ("--read-only --tmpfs /run:size=1m --init -t /srv/busybox sh", Host()),
    "mounts": (
        (
            "-v /data:/data -v /data:/ro:ro -v cache:/cache -v /data:/shared:rshared,noidmap"
            " --tmpfs /tmp:noexec,size=1m --mount type=bind,src=/etc/motd,dst=/etc/motd,ro --shm-size 1m"
            " /srv/busybox true"
        ),
        Host(),
    ),
    "limits": (
        (
            "-m 64m --cpus 0.5 --pids-limit 100 --cpuset-cpus 0-1 --device-read-bps /dev/sda:1m --ulimit nofile=64:128"
            " --oom-score-adj 500 /srv/busybox true"
        ),
        Host(),
    ),
    "process": (
        (
            "-h box --domainname example.org -w /srv --umask 0077 --cap-drop ALL --cap-add NET_ADMIN"
            " --security-opt no-new-privileges=false --security-opt seccomp=unconfined --security-opt mask=/proc/uptime"
            " --sysctl net.ipv4.ip_forward=1 --entrypoint /bin/echo /srv/busybox a b"
        ),
        Host(),
    ),
    "joins": (
        (
            "--pid container:other --network container:other --ipc container:other --uts container:other"
            " --cgroupns container:other /srv/busybox true"
        ),
        Host(userns=JOINED),
    ),
    "join-network-only": ("--network container:other /srv/busybox true", Host(userns=JOINED, cgroup_trees=HYBRID)),
    "host-namespaces": (
        "--pid host --network host --ipc host --uts host --cgroupns host /srv/busybox true",
        Host(cgroup_trees=HYBRID),
    ),
    "host-namespaces-no-userns": (
        "--userns host --pid host --network host --ipc host --uts host --cgroupns host /srv/busybox true",
        Host(userns=NO_USERNS),
    ),
    "time-offset": ("--time-offset boottime=1h --time-offset monotonic=-1.5s /srv/busybox true", Host()),
}


@pytest.mark.parametrize("name", CASES)
def test_plan(name: str, request: pytest.FixtureRequest) -> None:
    words, host = CASES[name]
    text = f"$ pycontain run {words}\n\n{explain.text(plan_of(words, host))}"
    file = DIRECTORY / f"{name}.txt"
    if request.config.getoption("update_golden"):
        file.write_text(text)
    assert file.exists(), f"{file} is missing; make it with --update-golden"
    assert text == file.read_text()


def test_no_golden_file_is_left_over() -> None:
    assert sorted(file.stem for file in DIRECTORY.iterdir()) == sorted(CASES)


def test_same_words_give_the_same_plan() -> None:
    words, host = CASES["mounts"]
    assert plan_of(words, host) == plan_of(words, host)


def test_host_s_kernel_does_not_change_the_order() -> None:
    """What differs between kernels is decided by the runtime when it makes a tree, not by the plan."""
    words, _ = CASES["directory"]
    assert plan_of(words, Host(kernel=(6, 1))).init == plan_of(words, Host()).init


def test_only_the_attached_trees_are_handed_over() -> None:
    plan = plan_of("@host true", Host(userns=AUTO))
    made = {op.name for op in plan.host}  # type: ignore[attr-defined]
    assert plan.attached <= made
    assert made - plan.attached == {"root.mask", "root.lower", "root.public"}
