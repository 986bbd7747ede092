"""From options to the configuration: golden documents, and single rules. Nothing of the host is read.

``UPDATE_GOLDEN=1 pytest tests/unit/test_generate.py`` writes the documents anew; read the difference before committing.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from pycontain.engine.generate import Prepared, generate
from pycontain.engine.options import run_options
from pycontain.engine.surroundings import Peer, Surroundings
from pycontain.engine.users import Identity
from pycontain.errors import HostError, PycontainError, UsageError
from pycontain.plan.rootfs import DIRECTORY, RootSource
from pycontain.spec.decode import decode, encode
from pycontain.spec.linux import Device
from pycontain.spec.mounts import Mount

GOLDEN = Path(__file__).parent / "golden"
ID = "0123456789ab" + "c" * 52
AROUND = Surroundings(
    id=ID,
    name="quiet_heron",
    directory=f"/state/containers/{ID}",
    data="/data",
    rootless=False,
    root=RootSource(DIRECTORY, "/srv/root", f"/data/overlay/{ID}"),
    identity=Identity(0, 0, (0, 10), "/root", "root"),
    hostname="host.example",
    hosts="127.0.0.1 localhost\n192.0.2.1 host.example\n",
    resolv_conf="search example\nnameserver 192.0.2.53\n",
)
AUTO = {"kind": "auto", "uid_map": [{"container_id": 0, "host_id": 600000, "size": 65536}]}
PEER = Peer("f" * 64, 4321, 99, "peer", "/state/containers/" + "f" * 64, AUTO, {})


def prepared(around: dict[str, Any] | None = None, **raw: Any) -> Prepared:
    options = run_options({"rootfs": "/srv/root", "command": ("/bin/true",), **raw}, {"LANG": "C.UTF-8"})
    return generate(options, AROUND.replace(**(around or {})))


CASES: dict[str, dict[str, Any]] = {
    "default": {},
    "many": {
        "command": ("sh", "-c", "x"),
        "entrypoint": "/entry",
        "tty": True,
        "env": ("LANG", "A=1", "PATH=/bin", "HOSTNAME"),
        "user": "web",
        "umask": "027",
        "workdir": "/srv",
        "hostname": "box",
        "domainname": "example",
        "add_host": ("db:192.0.2.7",),
        "dns": ("192.0.2.53",),
        "read_only": True,
        "volume": ("/srv/a:/b/c/d:ro", "db:/var/lib/db", "/anon"),
        "mount": ("type=tmpfs,target=/b,tmpfs-size=1m",),
        "tmpfs": ("/dev/shm:size=1m",),
        "memory": "64m",
        "cpus": "1.5",
        "pids_limit": "100",
        "cpuset_cpus": "0",
        "blkio_weight": "100",
        "device_read_bps": ("/dev/vda:1m",),
        "ulimit": ("nofile=10:20",),
        "cap_add": ("NET_ADMIN",),
        "cap_drop": ("CHOWN",),
        "security_opt": ("no-new-privileges=false", "mask=/proc/version", "unmask=/proc/acpi", "seccomp=unconfined"),
        "sysctl": ("net.ipv4.ip_forward=1",),
        "time_offset": ("boottime=-1.5s",),
        "device_cgroup_rule": ("c 10:229 rwm",),
        "annotation": ("a=b",),
        "init": True,
    },
    "host-namespaces": {"pid": "host", "ipc": "host", "uts": "host", "cgroupns": "host", "network": "host"},
    "privileged": {"privileged": True},
    "joined": {"network": "container:web", "ipc": "container:web"},
}
AROUNDS: dict[str, dict[str, Any]] = {
    "many": {
        "identity": Identity(33, 34, (34, 10), "/var/www", "web"),
        "numbers": {"/dev/vda": (254, 0)},
        "volume_names": ("db", "e" * 64),
        "init_program": "/package/pycontain-init",
    },
    "privileged": {"devices": ((Device("/dev/vda", "b", 254, 0, 0o660, 0, 6), "rwm"),)},
    "joined": {"peers": {"container:web": PEER}},
}


@pytest.mark.parametrize("name", CASES)
def test_golden(name: str) -> None:
    found = prepared(AROUNDS.get(name), **CASES[name])
    document = {
        "spec": encode(found.spec),
        "userns": found.userns,
        "seccomp": found.seccomp,
        "files": {file.name: file.text for file in found.files},
        "volumes": [volume.asdict() for volume in found.volumes],
        "fallback_refused": found.fallback_refused,
        "notes": list(found.notes),
    }
    text = json.dumps(document, indent=1) + "\n"
    path = GOLDEN / f"{name}.json"
    if os.environ.get("UPDATE_GOLDEN"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    assert text == path.read_text()


@pytest.mark.parametrize("name", CASES)
def test_a_generated_configuration_is_a_valid_document(name: str) -> None:
    spec = prepared(AROUNDS.get(name), **CASES[name]).spec
    assert decode(encode(spec), source="generated") == (spec, ())


def mount_at(found: Prepared, destination: str) -> Mount:
    (entry,) = [mount for mount in found.spec.mounts if mount.destination == destination]
    return entry


def test_variables() -> None:
    process = prepared(env=("A", "LANG", "HOME=/x", "container")).spec.process
    assert process is not None
    assert "LANG=C.UTF-8" in process.env
    assert "HOME=/x" in process.env
    assert not [entry for entry in process.env if entry.startswith(("A=", "container="))]


def test_user_namespace_request() -> None:
    assert prepared().userns == "auto"
    assert prepared(userns="100000:200000:100").userns == (100000, 200000, 100)
    assert prepared(privileged=True).userns == "host"
    assert prepared({"peers": {"container:web": PEER}}, pid="container:web").userns == "container"
    host_peer = PEER.replace(userns={"kind": "host"})
    assert prepared({"peers": {"container:web": host_peer}}, pid="container:web").userns == "host"


def test_joining_containers_of_two_user_namespaces_is_refused() -> None:
    peers = {"container:a": PEER, "container:b": PEER.replace(userns={"kind": "host"})}
    with pytest.raises(UsageError, match="container:b"):
        prepared({"peers": peers}, pid="container:a", ipc="container:b")


def test_volumes_are_shifted_only_where_owners_can_be() -> None:
    assert "ridmap" in mount_at(prepared(volume=("/a:/b",)), "/b").options
    assert "ridmap" not in mount_at(prepared(volume=("/a:/b:noidmap",)), "/b").options
    assert "ridmap" not in mount_at(prepared({"rootless": True}, volume=("/a:/b",)), "/b").options
    assert "ridmap" not in mount_at(prepared(volume=("/a:/b",), userns="host"), "/b").options
    for around, raw in (({"rootless": True}, {}), ({}, {"userns": "host"})):
        with pytest.raises(UsageError, match="at /b: idmap"):
            prepared(around, volume=("/a:/b:idmap",), **raw)


def test_read_only_binds_are_read_only_below() -> None:
    assert "rro" in mount_at(prepared(volume=("/a:/b:ro",)), "/b").options
    flat = prepared(mount=("type=bind,source=/a,target=/b,readonly,bind-recursive=disabled",))
    # "ro" would name a flag and so drop the source's nosuid and nodev
    assert {"rro", "bind"} <= set(mount_at(flat, "/b").options)


def test_what_confines_is_not_mounted_over() -> None:
    for place in ("/proc", "/sys", "/dev", "/sys/fs/cgroup"):
        with pytest.raises(UsageError, match=place):
            prepared(tmpfs=(place,))


def test_parents_are_mounted_before_what_lies_in_them() -> None:
    found = prepared(volume=("/x:/a/b/c", "/y:/a", "/z:/a/b"))
    assert [mount.destination for mount in found.spec.mounts[-3:]] == ["/a", "/a/b", "/a/b/c"]


def test_network_files() -> None:
    files = {file.name: file.text for file in prepared().files}
    assert "127.0.1.1\t0123456789ab\n" in files["hosts"]
    assert "--network none" in files["resolv.conf"]
    files = {file.name: file.text for file in prepared(network="host", add_host=("db:192.0.2.7",)).files}
    assert files["hosts"].endswith("192.0.2.1 host.example\n192.0.2.7\tdb\n")
    assert files["resolv.conf"] == AROUND.resolv_conf
    assert files["hostname"] == "host.example\n"
    files = {file.name: file.text for file in prepared(network="host", dns=("192.0.2.9",)).files}
    assert files["resolv.conf"] == "search example\nnameserver 192.0.2.9\n"


@pytest.mark.parametrize(
    ("raw", "refused"),
    [
        ({"cap_add": ("SYS_ADMIN",)}, "--cap-add SYS_ADMIN"),
        ({"cap_add": ("NET_ADMIN",)}, ""),
        ({"security_opt": ("unmask=ALL",)}, "--security-opt unmask=ALL"),
        ({"volume": ("/proc:/host/proc",)}, "a writable mount of /proc"),
        ({"volume": ("/sys:/host/sys:ro",)}, ""),
    ],
)
def test_what_forbids_the_weaker_user_namespace(raw: dict[str, Any], refused: str) -> None:
    assert prepared(**raw).fallback_refused == refused


@pytest.mark.parametrize(
    ("around", "raw", "names"),
    [
        ({"identity": Identity(70000, 0, (0,))}, {}, "id 70000"),
        ({"identity": Identity(0, 0, (0, 70000))}, {}, "id 70000"),
        ({"identity": Identity(10, 0, (0,))}, {"userns": "1:1:10"}, "id 10"),
        ({}, {"security_opt": ("apparmor=x",)}, "apparmor=x"),
        ({}, {"security_opt": ("label=type:x_t",)}, "label"),
        ({}, {"security_opt": ("unmask=/proc/version",)}, "/proc/version"),
        ({}, {"init": True, "pid": "host"}, "--init"),
        ({"rootless": True}, {"sysctl": ("kernel.sem=1",)}, "kernel.sem"),
        ({"capabilities": 0}, {"cap_add": ("SYS_ADMIN",), "userns": "host"}, "SYS_ADMIN"),
    ],
)
def test_refusals(around: dict[str, Any], raw: dict[str, Any], names: str) -> None:
    with pytest.raises(PycontainError) as caught:
        prepared(around, **raw)
    assert isinstance(caught.value, (UsageError, HostError))
    assert names in str(caught.value)
    assert caught.value.hint


def test_labels_where_selinux_is_active() -> None:
    found = prepared({"selinux": True}, security_opt=("label=type:x_t", "label=level:s0:c1,c2"))
    assert found.spec.process is not None
    assert found.spec.process.selinux_label == "system_u:system_r:x_t:s0:c1,c2"
    assert found.spec.linux.mount_label == "system_u:system_r:container_file_t:s0:c1,c2"
