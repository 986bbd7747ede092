"""Decoding and encoding of documents: every property, every wrong type, unknown properties, round trips."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from harness import specs
from harness.examples import examples
from harness.specs import ABSENT, changed
from hypothesis import given
from hypothesis import strategies as st

from pycontain.errors import SpecError
from pycontain.record import Record
from pycontain.spec import kinds, tables
from pycontain.spec.decode import (
    decode,
    decode_process,
    decode_resources,
    decode_seccomp,
    encode,
    encode_process,
    encode_resources,
)
from pycontain.spec.linux import Namespace, TimeOffset
from pycontain.spec.process import User
from pycontain.spec.rules.validation import validate

STRING, ARRAY, OBJECT = "expected string, got ", "expected array, got ", "expected object, got "
NAMESPACE = "is not one of pid, network, mount, ipc, uts, user, cgroup, time"

# way to the value, the value, the error's path, its rule
WRONG: list[tuple[str, object, str, str]] = [
    ("ociVersion", ABSENT, "ociVersion", "is required"),
    ("ociVersion", 1, "ociVersion", STRING + "1"),
    ("ociVersion", 1.3, "ociVersion", STRING + "1.3"),
    ("ociVersion", None, "ociVersion", STRING + "null"),
    ("root", ABSENT, "root", "is required"),
    ("root", "rootfs", "root", OBJECT + "string"),
    ("root", None, "root", OBJECT + "null"),
    ("root.path", ABSENT, "root.path", "is required"),
    ("root.path", ["x"], "root.path", STRING + "array"),
    ("root.path", "a\0b", "root.path", "must not contain a NUL character"),
    ("root.path", "a\ud800", "root.path", "is not valid Unicode text"),
    ("root.readonly", "true", "root.readonly", "expected boolean, got string"),
    ("root.readonly", 1, "root.readonly", "expected boolean, got 1"),
    ("hostname", 5, "hostname", STRING + "5"),
    ("domainname", {}, "domainname", STRING + "object"),
    ("annotations", [], "annotations", OBJECT + "array"),
    ("annotations", {"a": 1}, "annotations.a", STRING + "1"),
    ("annotations", {"org.x": None}, 'annotations["org.x"]', STRING + "null"),
    ("annotations", {"a\0": ""}, "annotations", "keys must be strings without NUL characters"),
    ("annotations", {"a\ud800": ""}, "annotations", "keys must be strings without NUL characters"),
    ("mounts", {}, "mounts", ARRAY + "object"),
    ("mounts.0", "x", "mounts[0]", OBJECT + "string"),
    ("mounts.0.destination", ABSENT, "mounts[0].destination", "is required"),
    ("mounts.0.destination", True, "mounts[0].destination", STRING + "boolean"),
    ("mounts.0.type", 0, "mounts[0].type", STRING + "0"),
    ("mounts.0.source", False, "mounts[0].source", STRING + "boolean"),
    ("mounts.0.options", "ro", "mounts[0].options", ARRAY + "string"),
    ("mounts.0.options", ["ro", 1], "mounts[0].options[1]", STRING + "1"),
    ("mounts.0.options", ["ro", "a\0"], "mounts[0].options[1]", "must not contain a NUL character"),
    ("mounts.0.options", ["é", "a\ud800"], "mounts[0].options[1]", "is not valid Unicode text"),
    ("mounts.0.uidMappings.0.size", -1, "mounts[0].uidMappings[0].size", "expected uint32, got -1"),
    ("mounts.0.gidMappings", {}, "mounts[0].gidMappings", ARRAY + "object"),
    ("process", [], "process", OBJECT + "array"),
    ("process.terminal", "yes", "process.terminal", "expected boolean, got string"),
    ("process.consoleSize", [80, 25], "process.consoleSize", OBJECT + "array"),
    ("process.consoleSize.height", ABSENT, "process.consoleSize.height", "is required"),
    ("process.consoleSize.width", -1, "process.consoleSize.width", "expected uint64, got -1"),
    ("process.cwd", ABSENT, "process.cwd", "is required"),
    ("process.cwd", None, "process.cwd", STRING + "null"),
    ("process.args", "sh", "process.args", ARRAY + "string"),
    ("process.args", ["sh", None], "process.args[1]", STRING + "null"),
    ("process.args", ["sh", ["a"]], "process.args[1]", STRING + "array"),
    ("process.env", {"A": "1"}, "process.env", ARRAY + "object"),
    ("process.env", ["A=1", 2], "process.env[1]", STRING + "2"),
    ("process.user", "root", "process.user", OBJECT + "string"),
    ("process.user.uid", "0", "process.user.uid", "expected uint32, got string"),
    ("process.user.uid", -1, "process.user.uid", "expected uint32, got -1"),
    ("process.user.uid", 1 << 32, "process.user.uid", "expected uint32, got 4294967296"),
    ("process.user.uid", 1.0, "process.user.uid", "expected uint32, got 1.0"),
    ("process.user.uid", True, "process.user.uid", "expected uint32, got boolean"),
    ("process.user.uid", None, "process.user.uid", "expected uint32, got null"),
    ("process.user.uid", 10**30, "process.user.uid", "expected uint32, got a number beyond 64 bits"),
    ("process.user.uid", ABSENT, "process.user.uid", "is required"),
    ("process.user.gid", ABSENT, "process.user.gid", "is required"),
    ("process.user.gid", [], "process.user.gid", "expected uint32, got array"),
    ("process.user.umask", "022", "process.user.umask", "expected uint32, got string"),
    ("process.user.additionalGids", 5, "process.user.additionalGids", ARRAY + "5"),
    ("process.user.additionalGids", [5, "6"], "process.user.additionalGids[1]", "expected uint32, got string"),
    ("process.capabilities", ["CAP_KILL"], "process.capabilities", OBJECT + "array"),
    ("process.capabilities.bounding", "CAP_KILL", "process.capabilities.bounding", ARRAY + "string"),
    ("process.capabilities.ambient", [5], "process.capabilities.ambient[0]", STRING + "5"),
    ("process.rlimits", {}, "process.rlimits", ARRAY + "object"),
    ("process.rlimits.0.soft", ABSENT, "process.rlimits[0].soft", "is required"),
    ("process.rlimits.0.hard", -1, "process.rlimits[0].hard", "expected uint64, got -1"),
    ("process.rlimits.0.hard", 1 << 64, "process.rlimits[0].hard", "expected uint64, got 18446744073709551616"),
    ("process.rlimits.0.type", ABSENT, "process.rlimits[0].type", "is required"),
    ("process.noNewPrivileges", 0, "process.noNewPrivileges", "expected boolean, got 0"),
    ("process.apparmorProfile", [], "process.apparmorProfile", STRING + "array"),
    ("process.selinuxLabel", 1, "process.selinuxLabel", STRING + "1"),
    ("process.oomScoreAdj", "5", "process.oomScoreAdj", "expected int32, got string"),
    ("process.oomScoreAdj", 1 << 31, "process.oomScoreAdj", "expected int32, got 2147483648"),
    ("process.scheduler.policy", ABSENT, "process.scheduler.policy", "is required"),
    ("process.scheduler.nice", 0.5, "process.scheduler.nice", "expected int32, got 0.5"),
    ("process.scheduler.runtime", -5, "process.scheduler.runtime", "expected uint64, got -5"),
    ("process.ioPriority.priority", ABSENT, "process.ioPriority.priority", "is required"),
    ("process.execCPUAffinity.initial", 3, "process.execCPUAffinity.initial", STRING + "3"),
    ("hooks", [], "hooks", OBJECT + "array"),
    ("hooks.prestart", {"path": "/x"}, "hooks.prestart", ARRAY + "object"),
    ("hooks.poststop.0.path", ABSENT, "hooks.poststop[0].path", "is required"),
    ("hooks.poststart.0.args", "x", "hooks.poststart[0].args", ARRAY + "string"),
    ("hooks.startContainer.0.env", [None], "hooks.startContainer[0].env[0]", STRING + "null"),
    ("hooks.createRuntime.0.timeout", "5", "hooks.createRuntime[0].timeout", "expected int64, got string"),
    ("linux", None, "linux", OBJECT + "null"),
    ("linux.namespaces", {}, "linux.namespaces", ARRAY + "object"),
    ("linux.namespaces", ["pid"], "linux.namespaces[0]", OBJECT + "string"),
    ("linux.namespaces.2.type", "foo", "linux.namespaces[2].type", f'"foo" {NAMESPACE}'),
    ("linux.namespaces.2.type", "", "linux.namespaces[2].type", f'"" {NAMESPACE}'),
    ("linux.namespaces.2.type", "a\n\x1b", "linux.namespaces[2].type", f'"a\\n\\u001b" {NAMESPACE}'),
    ("linux.namespaces.2.type", ABSENT, "linux.namespaces[2].type", "is required"),
    ("linux.namespaces.0.path", 7, "linux.namespaces[0].path", STRING + "7"),
    ("linux.uidMappings.0.containerID", ABSENT, "linux.uidMappings[0].containerID", "is required"),
    ("linux.uidMappings.0.hostID", "x", "linux.uidMappings[0].hostID", "expected uint32, got string"),
    ("linux.gidMappings.0.size", ABSENT, "linux.gidMappings[0].size", "is required"),
    ("linux.timeOffsets", [], "linux.timeOffsets", OBJECT + "array"),
    ("linux.timeOffsets.monotonic", 5, "linux.timeOffsets.monotonic", OBJECT + "5"),
    ("linux.timeOffsets.monotonic.secs", "5", "linux.timeOffsets.monotonic.secs", "expected int64, got string"),
    ("linux.timeOffsets.monotonic.nanosecs", -1, "linux.timeOffsets.monotonic.nanosecs", "expected uint32, got -1"),
    ("linux.devices.0.type", "x", "linux.devices[0].type", '"x" is not one of c, b, u, p'),
    ("linux.devices.0.path", ABSENT, "linux.devices[0].path", "is required"),
    ("linux.devices.0.fileMode", "0666", "linux.devices[0].fileMode", "expected uint32, got string"),
    ("linux.netDevices", [], "linux.netDevices", OBJECT + "array"),
    ("linux.netDevices.eth7", "eth0", "linux.netDevices.eth7", OBJECT + "string"),
    ("linux.cgroupsPath", 1, "linux.cgroupsPath", STRING + "1"),
    ("linux.sysctl", {"net.a": 1}, 'linux.sysctl["net.a"]', STRING + "1"),
    ("linux.maskedPaths", "/proc", "linux.maskedPaths", ARRAY + "string"),
    ("linux.readonlyPaths", ["/a", {}], "linux.readonlyPaths[1]", STRING + "object"),
    ("linux.mountLabel", [], "linux.mountLabel", STRING + "array"),
    ("linux.personality.domain", "BSD", "linux.personality.domain", '"BSD" is not one of LINUX, LINUX32'),
    ("linux.personality.domain", ABSENT, "linux.personality.domain", "is required"),
    ("linux.intelRdt", True, "linux.intelRdt", OBJECT + "boolean"),
    ("linux.intelRdt.schemata", "L3", "linux.intelRdt.schemata", ARRAY + "string"),
    ("linux.intelRdt.enableMonitoring", 1, "linux.intelRdt.enableMonitoring", "expected boolean, got 1"),
    ("linux.memoryPolicy.mode", ABSENT, "linux.memoryPolicy.mode", "is required"),
    ("linux.resources.devices.0.allow", ABSENT, "linux.resources.devices[0].allow", "is required"),
    ("linux.resources.devices.0.type", "x", "linux.resources.devices[0].type", '"x" is not one of a, c, b'),
    ("linux.resources.devices.0.major", "*", "linux.resources.devices[0].major", "expected int64, got string"),
    ("linux.resources.memory.limit", "1g", "linux.resources.memory.limit", "expected int64, got string"),
    ("linux.resources.memory.swappiness", -1, "linux.resources.memory.swappiness", "expected uint64, got -1"),
    ("linux.resources.cpu.shares", -1, "linux.resources.cpu.shares", "expected uint64, got -1"),
    ("linux.resources.cpu.cpus", 3, "linux.resources.cpu.cpus", STRING + "3"),
    ("linux.resources.pids.limit", 1.5, "linux.resources.pids.limit", "expected int64, got 1.5"),
    ("linux.resources.blockIO.weight", 65536, "linux.resources.blockIO.weight", "expected uint16, got 65536"),
    ("linux.resources.hugepageLimits.0.limit", ABSENT, "linux.resources.hugepageLimits[0].limit", "is required"),
    ("linux.resources.network.classID", 1 << 32, "linux.resources.network.classID", "expected uint32, got 4294967296"),
    ("linux.resources.rdma.mlx5_1.hcaHandles", -1, "linux.resources.rdma.mlx5_1.hcaHandles", "expected uint32, got -1"),
    ("linux.resources.unified", {"memory.max": 5}, 'linux.resources.unified["memory.max"]', STRING + "5"),
    ("linux.seccomp", "unconfined", "linux.seccomp", OBJECT + "string"),
    ("linux.seccomp.defaultAction", ABSENT, "linux.seccomp.defaultAction", "is required"),
    ("linux.seccomp.defaultErrnoRet", -1, "linux.seccomp.defaultErrnoRet", "expected uint32, got -1"),
    ("linux.seccomp.syscalls.0.names", ABSENT, "linux.seccomp.syscalls[0].names", "is required"),
    ("linux.seccomp.syscalls.0.names", "read", "linux.seccomp.syscalls[0].names", ARRAY + "string"),
    ("linux.seccomp.syscalls.0.args.0.op", ABSENT, "linux.seccomp.syscalls[0].args[0].op", "is required"),
    ("linux.seccomp.syscalls.0.args.0.value", -1, "linux.seccomp.syscalls[0].args[0].value", "expected uint64, got -1"),
]


@pytest.mark.parametrize(("way", "value", "path", "rule"), WRONG, ids=[f"{row[0]}={row[1]!a}"[:60] for row in WRONG])
def test_a_wrong_value_is_named(way: str, value: object, path: str, rule: str) -> None:
    with pytest.raises(SpecError) as caught:
        decode(changed(specs.full(), way, value))
    assert (caught.value.path, caught.value.rule) == (path, rule)
    assert str(caught.value) == f"config.json: {path}: {rule}"


@pytest.mark.parametrize(
    "way",
    [
        "process.rlimits.0.type",
        "process.scheduler.policy",
        "process.scheduler.flags.0",
        "process.ioPriority.class",
        "linux.rootfsPropagation",
        "linux.memoryPolicy.mode",
        "linux.memoryPolicy.flags.0",
        "linux.seccomp.defaultAction",
        "linux.seccomp.architectures.0",
        "linux.seccomp.flags.0",
        "linux.seccomp.syscalls.0.action",
        "linux.seccomp.syscalls.0.args.0.op",
    ],
)
@pytest.mark.parametrize("value", ["foo", 5])
def test_a_word_that_is_not_in_the_list(way: str, value: object) -> None:
    with pytest.raises(SpecError) as caught:
        decode(changed(specs.full(), way, value))
    path = "".join(f"[{key}]" if key.isdigit() else f".{key}" for key in way.split("."))[1:]
    assert caught.value.path == path
    assert caught.value.rule.startswith('"foo" is not one of ' if value == "foo" else "expected string, got 5")


@pytest.mark.parametrize("document", [None, [], "x", 5, True, 1.5, object()])
def test_a_document_that_is_no_object(document: object) -> None:
    with pytest.raises(SpecError, match=r"^config\.json: expected object, got "):
        decode(document)


def leaves(document: object, way: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Yield the way to every value of a document, containers too."""
    items: Any = document.items() if isinstance(document, dict) else enumerate(document)  # type: ignore[call-overload]
    for key, value in items:
        yield (*way, key)
        if isinstance(value, (dict, list)):
            yield from leaves(value, (*way, key))


EVERYWHERE = [".".join(map(str, way)) for way in leaves(specs.full()) if "." not in "".join(map(str, way))]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


def refusal(document: object) -> SpecError | None:
    try:
        spec, _ = decode(document)
        validate(spec)
    except SpecError as error:
        return error
    return None


@pytest.mark.parametrize("value", [None, -1, "", "x\0", [[]], {"x": {}}], ids=ascii)
def test_any_type_in_any_place_is_taken_or_refused(value: object) -> None:
    for way in EVERYWHERE:
        error = refusal(changed(specs.full(), way, value))
        if value is None:
            # null is nowhere a value
            assert error is not None, way
            assert error.rule.endswith("got null"), (way, error)


@given(st.sampled_from(EVERYWHERE), JSON)
@examples(50)
def test_any_value_in_any_place_is_taken_or_refused(way: str, value: object) -> None:
    error = refusal(changed(specs.full(), way, value))
    assert error is None or (str(error).isprintable() and "config.json: " in str(error))


@given(JSON)
@examples(30)
def test_any_document_is_refused(document: object) -> None:
    assert refusal(document) is not None


def test_a_property_is_required_or_may_be_absent() -> None:
    for way in EVERYWHERE:
        if way.rpartition(".")[2].isdigit():
            continue
        document = changed(specs.full(), way, ABSENT)
        error = refusal(document)
        if error is None or "is required" not in error.rule:
            spec, warnings = decode(document)
            assert decode(encode(spec)) == (spec, warnings) == (spec, ()), way


def test_unknown_properties_are_warnings() -> None:
    document = changed(specs.full(), "foo", 1)
    changed(document, "linux.namespaces.0.colour", "red")
    changed(document, "process.user.a b", None)
    spec, warnings = decode(document)
    assert spec == decode(specs.full())[0]
    assert warnings == (
        'process.user["a b"]: unknown property, ignored',
        "linux.namespaces[0].colour: unknown property, ignored",
        "foo: unknown property, ignored",
    )


def test_properties_of_other_platforms_are_warnings() -> None:
    document = specs.small()
    for name in ("windows", "solaris", "vm", "zos", "freebsd"):
        changed(document, name, "whatever")
    changed(document, "process.commandLine", "cmd.exe")
    changed(document, "linux.intelRdt", {"enableCMT": True, "enableMBM": 5})
    _, warnings = decode(document)
    assert [line.partition(":")[0] for line in warnings] == [
        "process.commandLine",
        "linux.intelRdt.enableCMT",
        "linux.intelRdt.enableMBM",
        "windows",
        "solaris",
        "vm",
        "zos",
        "freebsd",
    ]


def test_warnings_are_bounded() -> None:
    document = {**specs.small(), **{f"x{number}": 1 for number in range(1000)}}
    _, warnings = decode(document)
    assert len(warnings) == kinds.MAX_WARNINGS + 1
    assert warnings[-1] == "and more"


def test_a_key_that_is_no_string_is_unknown() -> None:
    _, warnings = decode({**specs.small(), 5: "x"})
    assert warnings == ('["5"]: unknown property, ignored',)


def test_small_document() -> None:
    spec, warnings = decode(specs.small())
    assert warnings == ()
    assert spec.process is not None
    assert spec.process.user == User(0, 0)
    assert spec.process.capabilities is None
    assert spec.linux.namespaces == (Namespace("pid"), Namespace("mount"), Namespace("uts"))
    assert spec.linux.namespace("uts") == Namespace("uts")
    assert spec.linux.namespace("user") is None
    assert (spec.mounts, spec.hooks.prestart, spec.hostname, spec.linux.resources) == ((), (), None, None)


def test_full_document() -> None:
    spec, warnings = decode(specs.full())
    assert warnings == ()
    assert spec.linux.time_offsets == {"monotonic": TimeOffset(-5, 10)}
    assert spec.hooks.poststop[0].timeout == 5
    assert spec.linux.resources is not None
    assert spec.linux.resources.block_io is not None
    assert spec.linux.resources.block_io.throttle_read_iops_device[0].rate == 1000
    assert spec.linux.seccomp is not None
    assert spec.linux.seccomp.syscalls[0].args[0].value_two == 3
    assert decode(encode(spec)) == (spec, ())


def test_empty_strings_are_absent_where_writers_leave_them_out() -> None:
    document = specs.full()
    for way in ("hostname", "process.apparmorProfile", "linux.cgroupsPath", "linux.rootfsPropagation", "mounts.0.type"):
        changed(document, way, "")
    changed(document, "linux.resources.devices.0.type", "")
    spec, _ = decode(document)
    assert spec.process is not None
    assert spec.linux.resources is not None
    assert (spec.hostname, spec.process.apparmor_profile, spec.linux.cgroups_path) == (None, None, None)
    assert (spec.linux.rootfs_propagation, spec.mounts[0].type) == (None, None)
    assert spec.linux.resources.devices[0].type == "a"


def test_absent_and_empty_differ_where_it_matters() -> None:
    document = specs.full()
    changed(document, "hooks.prestart.0.env", [])
    changed(document, "hooks.poststop.0.env", ABSENT)
    changed(document, "linux.seccomp.flags", [])
    spec, _ = decode(document)
    assert (spec.hooks.prestart[0].env, spec.hooks.poststop[0].env) == ((), None)
    assert spec.linux.seccomp is not None
    assert spec.linux.seccomp.flags == ()
    assert decode(encode(spec))[0] == spec


def test_parts_of_documents() -> None:
    document = specs.full()
    process, warnings = decode_process(document["process"])
    assert decode_process(encode_process(process)) == (process, warnings)
    resources, warnings = decode_resources(document["linux"]["resources"])
    assert decode_resources(encode_resources(resources)) == (resources, warnings)
    seccomp, _ = decode_seccomp(document["linux"]["seccomp"])
    assert (process, resources, seccomp) == (
        decode(document)[0].process,
        decode(document)[0].linux.resources,
        decode(document)[0].linux.seccomp,
    )
    with pytest.raises(SpecError, match=r"^process\.json: user\.uid: expected uint32, got string$"):
        decode_process({"cwd": "/", "user": {"uid": "0", "gid": 0}})
    with pytest.raises(SpecError, match=r"^resources\.json: memory\.limit: expected int64, got string$"):
        decode_resources({"memory": {"limit": "1g"}})


def test_a_process_without_a_user_is_root_and_says_so_when_written() -> None:
    process, _ = decode_process({"cwd": "/", "args": ["sh"]})
    assert encode_process(process) == {"user": {"uid": 0, "gid": 0}, "args": ["sh"], "cwd": "/"}


def test_docker_like_document_loses_nothing() -> None:
    document = specs.docker_like()
    spec, warnings = decode(document)
    assert warnings == ()
    # an absent type means all devices; written, it says so
    assert encode(spec) == changed(document, "linux.resources.devices.0.type", "a")


# ---- records made from the tables, so that a new row is tested without anybody thinking of it

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=4)


def values(kind: object) -> st.SearchStrategy[Any]:
    """Return a strategy for what records hold for a kind."""
    if isinstance(kind, kinds.Table):
        return records(kind)
    if isinstance(kind, kinds.Array):
        return st.lists(values(kind.item), max_size=2).map(tuple)
    if isinstance(kind, kinds.Map):
        return st.dictionaries(TEXT, values(kind.item), max_size=2)
    if isinstance(kind, kinds.Choice):
        return st.sampled_from(kind.words)
    if isinstance(kind, kinds.Text):
        return TEXT.filter(bool) if kind.may_be_absent else TEXT
    if isinstance(kind, kinds.Integer):
        return st.integers(kind.low, kind.high)
    assert isinstance(kind, kinds.Boolean)
    return st.booleans()


def records(table: kinds.Table) -> st.SearchStrategy[Record]:
    defaults = table.cls._defaults
    fields = {
        name: values(kind) if name not in defaults else st.just(defaults[name]) | values(kind)
        for name, _, kind, _ in table.rows
    }
    return st.builds(table.cls, **fields)


@given(records(tables.SPEC))
@examples(15)
def test_what_is_written_is_read_again(spec: Any) -> None:
    assert decode(encode(spec)) == (spec, ())


ALL_TABLES = [value for value in vars(tables).values() if isinstance(value, kinds.Table)]


@pytest.mark.parametrize("table", ALL_TABLES, ids=lambda table: table.cls.__name__)
def test_tables_and_records_have_the_same_fields(table: kinds.Table) -> None:
    assert {row[0] for row in table.rows} == set(table.cls._fields)
    assert len({row[1] for row in table.rows}) == len(table.rows)
    required = {name for name, _, _, necessity in table.rows if necessity == kinds.REQUIRED}
    assert set(table.cls._fields) - set(table.cls._defaults) <= required
