"""From the entries of ``mounts`` to operations: what is made on the host, what inside, in which order."""

from __future__ import annotations

import pytest

from pycontain.cgroups.cgroup import CgroupPaths
from pycontain.errors import SpecError
from pycontain.oci import assembly
from pycontain.plan.facts import USERNS_HOST, HostFacts, UserNamespace
from pycontain.plan.mounts import compile_mounts
from pycontain.plan.ops import Attach, DevTree, MakeNodes, Op, OpenTree, ReadonlyMount, Remount
from pycontain.spec.decode import decode
from pycontain.spec.ids import IDMapping
from pycontain.spec.mount_options import (
    MOUNT_ATTR_NOEXEC,
    MOUNT_ATTR_RDONLY,
    MS_I_VERSION,
    MS_PRIVATE,
    MS_REC,
    MS_REMOUNT,
    MS_SHARED,
    MS_SLAVE,
)
from pycontain.spec.runtime import Spec

V2 = (("", "/sys/fs/cgroup/x"),)
HYBRID = (("memory", "/cg/memory/x"), ("name=systemd", "/cg/systemd/x"), ("unified", "/cg/unified/x"))


def spec(*mounts: dict[str, object], **linux: object) -> Spec:
    document = {"ociVersion": "1.2.0", "root": {"path": "/r"}, "mounts": list(mounts), "linux": linux}
    return decode(document, source="config.json")[0]


def made(*mounts: dict[str, object], trees: tuple[tuple[str, str], ...] = V2, shift: bool = True) -> list[list[Op]]:
    facts = HostFacts((6, 18), "x86_64", True, UserNamespace(USERNS_HOST), cgroup_trees=trees, idmap_mounts=shift)
    return [[op for op in ops if not isinstance(op, MakeNodes)] for ops in compile_mounts(spec(*mounts), facts)]


def tmpfs(place: str, *options: str) -> dict[str, object]:
    return {"destination": place, "type": "tmpfs", "source": "tmpfs", "options": list(options)}


def bind(place: str, *options: str) -> dict[str, object]:
    return {"destination": place, "source": "/src", "options": ["bind", *options]}


def test_new_file_systems_are_labelled() -> None:
    """linux.mountLabel: what SELinux is told of each, and how."""
    label = "system_u:object_r:container_file_t:s0:c1,c2"
    kinds = ("proc", "sysfs", "mqueue", "devpts", "tmpfs", "cgroup")
    places = [{"destination": f"/{kind}", "type": kind, "source": kind} for kind in kinds]
    places += [tmpfs("/dev"), tmpfs("/other", 'rootcontext="user_u:object_r:x_t:s0:c3,c4"'), bind("/bound")]
    facts = HostFacts((6, 18), "x86_64", True, UserNamespace(USERNS_HOST), cgroup_trees=HYBRID, selinux=True)
    host, init = compile_mounts(spec(*places, mountLabel=label), facts)
    fresh = {op.target: op.fresh for op in init if isinstance(op, Attach) and op.fresh is not None}
    given = {place: dict(one.options) for place, one in fresh.items()}
    with_label = {place for place, options in given.items() if options.get("context") == label}
    assert with_label == {"/devpts", "/tmpfs", "/cgroup"}
    assert {place: one.label for place, one in fresh.items() if one.label} == {"/mqueue": label}
    assert given["/other"]["rootcontext"] == "user_u:object_r:x_t:s0:c3,c4"
    (dev,) = (op for op in host if isinstance(op, DevTree))
    assert ("context", label) in dev.options


def test_a_read_only_tmpfs_becomes_so_after_what_lies_in_it() -> None:
    _, init = made(tmpfs("/a", "ro"), bind("/a/b"), tmpfs("/c", "rro"), tmpfs("/d"))
    names = [(type(op).__name__, op.target if isinstance(op, Attach) else op.path) for op in init]  # type: ignore[attr-defined]
    assert names == [
        ("Attach", "/a"),
        ("Attach", "/a/b"),
        ("Attach", "/c"),
        ("ReadonlyMount", "/c"),
        ("Attach", "/d"),
        ("ReadonlyMount", "/a"),
    ]


def test_a_tmpfs_inherits_a_mode_unless_it_has_one_or_lies_in_our_dev() -> None:
    _, init = made(tmpfs("/a"), tmpfs("/b", "mode=700"), tmpfs("/dev"), tmpfs("/dev/shm"))
    assert [op.inherit for op in init if isinstance(op, Attach)] == [True, False, True, False]


def test_words_with_r_are_those_of_a_new_mount() -> None:
    _, init = made({"destination": "/p", "type": "proc", "options": ["noexec", "rexec", "rro", "rshared"]})
    (attach,) = init
    assert isinstance(attach, Attach)
    assert attach.fresh is not None
    assert attach.fresh.attr_set == MOUNT_ATTR_RDONLY
    assert attach.propagation == MS_SHARED | MS_REC


def test_what_fsconfig_has_no_name_for_is_a_remount() -> None:
    _, init = made(tmpfs("/a", "iversion"))
    assert isinstance(init[1], Remount)
    assert (init[1].flags, init[1].bind) == (MS_I_VERSION, False)


def test_remount() -> None:
    host, init = made({"destination": "/a", "options": ["remount", "ro", "size=1m"]}, bind("/b", "remount", "noexec"))
    assert host == []
    whole, alone = init
    assert isinstance(whole, Remount)
    assert isinstance(alone, Remount)
    assert (whole.bind, whole.flags & MS_REMOUNT, whole.data) == (False, MS_REMOUNT, "size=1m")
    assert (alone.bind, alone.flags, alone.attr_set) == (True, 0, MOUNT_ATTR_NOEXEC)
    assert alone.implied_clr & MOUNT_ATTR_RDONLY
    assert "noexec" in alone.describe()
    assert "file system at /a" in whole.describe()


def test_whose_mapping_shifts_owners() -> None:
    rows = [{"containerID": 0, "hostID": 5, "size": 1}]
    mappings = {"uidMappings": rows, "gidMappings": rows}
    host, _ = made(bind("/a", "idmap"), bind("/b", "ridmap") | mappings, bind("/c") | mappings, bind("/d"))
    found = [(op.idmap, bool(op.maps[0])) for op in host if isinstance(op, OpenTree)]
    assert found == [("idmap", False), ("ridmap", True), ("idmap", True), ("", False)]
    assert host[1].maps[0] == (IDMapping(0, 5, 1),)  # type: ignore[attr-defined]
    host, _ = made(bind("/a", "idmap"), shift=False)
    assert host[0].idmap == ""  # type: ignore[attr-defined]


def test_options_of_dev() -> None:
    host, init = made(tmpfs("/dev", "ro", "noexec"), tmpfs("/dev/shm"))
    assert isinstance(host[0], DevTree)
    assert host[0].attr_set == MOUNT_ATTR_NOEXEC
    assert isinstance(init[-1], ReadonlyMount)


def test_cgroups_of_several_hierarchies() -> None:
    mount = {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["ro"]}
    host, init = made(mount, trees=HYBRID)
    assert len(host) == 3
    places = [op.target for op in init if isinstance(op, Attach)]
    assert places == ["/sys/fs/cgroup", *(f"/sys/fs/cgroup/{name}" for name in ("memory", "systemd", "unified"))]
    assert isinstance(init[-1], ReadonlyMount)
    assert not isinstance(made(mount)[1][-1], ReadonlyMount)
    with pytest.raises(SpecError, match=r"mounts\[0\].options\[1\]"):
        made(mount | {"options": ["ro", "memory"]})


@pytest.mark.parametrize(
    ("word", "first"),
    [
        (None, 0),
        ("shared", MS_PRIVATE),
        ("rshared", MS_PRIVATE | MS_REC),
        ("slave", MS_SLAVE),
        ("rprivate", MS_PRIVATE | MS_REC),
    ],
)
def test_what_the_root_is_before_the_pivot(word: str | None, first: int) -> None:
    linux = {} if word is None else {"rootfsPropagation": word}
    assert assembly.root_propagation(spec(**linux)) == first


def test_who_owns_the_cgroup() -> None:
    mount = {"destination": "/sys/fs/cgroup", "type": "cgroup2", "source": "cgroup", "options": ["rw"]}
    own = {"namespaces": [{"type": "cgroup"}, {"type": "mount"}]}
    v2 = CgroupPaths("/sys/fs/cgroup/x")
    assert assembly.owns_cgroup(spec(mount, **own), v2)
    assert not assembly.owns_cgroup(spec(mount, **own), v2.replace(v1={"memory": "/m"}))
    assert not assembly.owns_cgroup(spec(mount), v2)
    assert not assembly.owns_cgroup(spec(mount | {"options": ["ro"]}, **own), v2)
    assert not assembly.owns_cgroup(spec(mount | {"options": ["rro"]}, **own), v2)
    assert not assembly.owns_cgroup(spec(**own), v2)
    joined = {"namespaces": [{"type": "cgroup", "path": "/proc/1/ns/cgroup"}]}
    assert not assembly.owns_cgroup(spec(mount, **joined), v2)
