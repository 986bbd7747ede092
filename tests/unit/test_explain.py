"""The plan in words and as data: nothing that is done is left out, every step names what asked for it."""

from __future__ import annotations

import json
import re

import pytest
from unit.golden_plans import AUTO, NO_USERNS, SINGLE, Host, plan_of

from pycontain import lean_json
from pycontain.plan import explain, needs, ops
from pycontain.plan.needs import Need
from pycontain.plan.ops import OpenTree
from pycontain.plan.plan import Plan
from pycontain.spec.mount_options import parse_options

KEYS = ("stage", "op", "what", "spec_path", "arguments", "needs", "possible")


@pytest.fixture(scope="module")
def plan() -> Plan:
    words = (
        "-t -m 64m --read-only --sysctl net.ipv4.ip_forward=1 --ulimit nofile=64:-1 -h box --domainname d -v /x:/y:ro"
    )
    return plan_of(f"{words} --time-offset 1h /srv/busybox /bin/echo ä b", Host())


def test_every_operation_is_a_step_in_its_order(plan: Plan) -> None:
    rows = explain.steps(plan)
    done = [(row["op"], row["what"], row["spec_path"]) for row in rows]
    wanted = [(type(op).__name__, op.describe(), op.spec_path) for op in (*plan.host, *plan.init)]
    assert [row for row in done if row in wanted] == wanted
    assert all(tuple(row) == KEYS for row in rows)


def test_stages_come_in_the_order_of_the_start(plan: Plan) -> None:
    stages = [row["stage"] for row in explain.steps(plan)]
    assert list(dict.fromkeys(stages)) == ["host", "init", "process"]
    assert stages == sorted(stages, key=("host", "init", "process").index)


def test_without_privilege_the_host_s_operations_are_done_inside() -> None:
    plan = plan_of("/srv/busybox true", Host(userns=SINGLE, privileged=False, cgroup_trees=()))
    trees = [row for row in explain.steps(plan) if row["op"] in ("OpenTree", "Overlay", "DevTree")]
    assert {row["stage"] for row in trees} == {"init"}


def test_text_has_one_numbered_line_for_each_step(plan: Plan) -> None:
    rows, lines = explain.steps(plan), explain.text(plan).splitlines()
    numbered = [line for line in lines if line.startswith(" ")]
    assert [int(line.split()[0]) for line in numbered] == list(range(1, len(rows) + 1))
    assert [line for line in lines if not line.startswith(" ")] == ["on the host:", "inside:", "the process:"]
    for row, line in zip(rows, numbered, strict=True):
        assert row["what"] in line
        assert not row["spec_path"] or line.partition("   needs ")[0].endswith(f"[{row['spec_path']}]")
        assert ("   needs " in line) == bool(row["needs"])


def test_the_document_is_json_and_says_what_the_text_says(plan: Plan) -> None:
    document = json.loads(lean_json.dumps(explain.document(plan), surrogates=True))
    assert [step["what"] for step in document["steps"]] == [row["what"] for row in explain.steps(plan)]
    assert document["limits"]["memory"] == {"limit": 64 << 20, "swap": 128 << 20}
    assert set(document["namespaces"]["new"]) == {"time", "mount", "cgroup", "uts", "ipc", "user", "pid", "network"}
    assert document["namespaces"]["host"] == document["namespaces"]["joined"] == []
    assert document["user_mapping"]["kind"] == "auto"
    assert document["user_mapping"]["uid_map"][0].keys() == {"container_id", "host_id", "size"}
    (step,) = [one for one in document["steps"] if one["op"] == "Sysctl"]
    assert step["arguments"] == {"key": "net.ipv4.ip_forward", "value": "1"}
    assert step["spec_path"] == "linux.sysctl.net.ipv4.ip_forward"


def test_host_namespaces_are_named_in_the_document() -> None:
    plan = plan_of("--uts host --network host --userns host /srv/busybox true", Host(userns=NO_USERNS))
    document = explain.document(plan)
    assert document["namespaces"]["host"] == ["time", "uts", "user", "network"]
    assert document["user_mapping"] == {"kind": "host", "shifted_mounts": False, "uid_map": [], "gid_map": []}


def test_what_was_asked_for_is_said(plan: Plan) -> None:
    text = explain.text(plan)
    for words in (
        "memory.limit = 67108864   [linux.resources.memory.limit]",
        "set the host name to box   [hostname]",
        "set the NIS domain name to d   [domainname]",
        "set sysctl net.ipv4.ip_forward = 1",
        "RLIMIT_NOFILE 64:-1",
        "make it read-only",
        "new namespaces: time, mount, cgroup, uts, ipc, user, pid, network",
        "ids 0 to 65535 are the host's from 524288 on (auto)",
        "execute /bin/echo ä b",
        "seccomp filter of 1 instructions",
        "no new privileges",
    ):
        assert words in text


def test_what_is_not_there_is_not_said() -> None:
    options = "--userns host --security-opt seccomp=unconfined --security-opt no-new-privileges=false --cap-drop ALL"
    text = explain.text(plan_of(f"{options} --uts host --network host /srv/busybox true", Host(userns=NO_USERNS)))
    assert not re.search("seccomp|no new privileges|ids 0|shifted|host name|loopback", text)
    assert "capabilities: none" in text


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ((), "clone the mount at /x"),
        (("rbind",), "clone the mount at /x recursively"),
        (("bind", "ro"), ": read-only, not nosuid, not nodev, not noexec, not nosymfollow"),
        (("rbind", "rro"), "recursively: read-only all through"),
        (("bind", "rshared"), ": shared"),
        (("bind", "idmap"), " with shifted owners"),
        (("rbind", "ridmap"), "recursively with shifted owners all through"),
        (("bind", "rw"), ": not read-only, not nosuid"),
    ],
)
def test_a_bind_says_what_becomes_of_it(options: tuple[str, ...], words: str) -> None:
    flags = parse_options(options, "options")
    tree = OpenTree(
        "",
        "n",
        "/x",
        recursive=flags.recursive,
        attr_set=flags.attr_set,
        attr_clr=flags.attr_clr | flags.implied_clr,
        tree_set=flags.rec_attr_set,
        tree_clr=flags.rec_attr_clr,
        idmap=("ridmap" if flags.idmap_recursive else "idmap") if flags.idmap else "",
        propagation=flags.propagation,
    )
    assert words in tree.describe()


def test_every_kind_of_operation_describes_itself() -> None:
    """The fallback of the base class is for programmers; no user should meet it."""
    kinds = [kind for kind in vars(ops).values() if isinstance(kind, type) and issubclass(kind, ops.Op)]
    assert [kind.__name__ for kind in kinds if kind is not ops.Op and "describe" not in vars(kind)] == []


def test_identity_and_ranges_are_told_apart() -> None:
    assert "(auto)" in explain.text(plan_of("/srv/busybox true", Host(userns=AUTO)))
    assert "ids 0 to 0 are the host's from 1000 on (single)" in explain.text(
        plan_of("/srv/busybox true", Host(userns=SINGLE, privileged=False))
    )


def test_every_operation_has_its_needs_told(plan: Plan) -> None:
    """A new kind of operation has to say what it needs."""
    kinds = [kind for kind in vars(ops).values() if isinstance(kind, type) and issubclass(kind, ops.Op)]
    assert len(kinds) > 20
    for kind in kinds:
        assert kind is ops.Op or kind in needs._OPS, kind


def test_steps_say_what_they_need(plan: Plan) -> None:
    found = {
        (row["op"], row["what"]): [Need(n["kind"], n["name"]) for n in row["needs"]] for row in explain.steps(plan)
    }
    by_op = {op: wanted for (op, _), wanted in found.items()}
    assert by_op["Overlay"] == [Need(needs.FILESYSTEM, "overlay")]
    assert by_op["DevTree"] == [Need(needs.CAPABILITY, "CAP_MKNOD")]
    assert by_op["Sysctl"] == [Need(needs.FILE, "/proc/sys/net/ipv4/ip_forward")]
    assert by_op["Console"] == [Need(needs.FILESYSTEM, "devpts")]
    assert found["Limit", "memory.limit = 67108864"] == [Need(needs.CONTROLLER, "memory")]
    assert found["Process", "RLIMIT_NOFILE 64:-1"] == [Need(needs.LIMIT, "RLIMIT_NOFILE -1")]
    assert Need(needs.NAMESPACE, "time") in by_op["Clone"]


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("linux.resources.memory.limit", "memory"),
        ("linux.resources.cpu.quota", "cpu"),
        ("linux.resources.cpu.mems", "cpuset"),
        ("linux.resources.block_io.weight", "io"),
        ("linux.resources.hugepage_limits", "hugetlb"),
        ("linux.resources.network.class_id", "net_cls"),
        ("linux.resources.network.priorities", "net_prio"),
        ("linux.resources.unified.pids.max", "pids"),
        ("linux.resources.rdma.mlx5", "rdma"),
    ],
)
def test_limits_need_their_controllers(path: str, name: str) -> None:
    assert needs.of_limit(path) == (Need(needs.CONTROLLER, name),)


def test_what_a_host_lacks_stands_below_the_step(plan: Plan) -> None:
    def lack(need: Need) -> str:
        return "not in this kernel" if need.name == "overlay" else ""

    lines = explain.text(plan, lack).splitlines()
    (at,) = [number for number, line in enumerate(lines) if "not on this host" in line]
    assert lines[at].strip() == "not on this host: file system overlay: not in this kernel"
    assert "needs file system overlay" in lines[at - 1]
    steps = explain.document(plan, lack)["steps"]
    assert [step["op"] for step in steps if not step["possible"]] == ["Overlay"]
    assert all(step["possible"] for step in explain.steps(plan))


def test_without_privilege_a_range_of_ids_needs_programs() -> None:
    plan = plan_of("/srv/busybox true", Host(userns=AUTO, privileged=False, cgroup_trees=()))
    (row, *_) = [row for row in explain.steps(plan) if row["op"] == "MapIds"]
    assert [need["name"] for need in row["needs"]] == ["newuidmap", "newgidmap"]
