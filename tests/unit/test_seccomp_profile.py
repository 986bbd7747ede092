"""Profiles with conditions: the default one is its source, and what a user writes wrong is named by its JSON path."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pycontain.errors import SpecError
from pycontain.plan.seccomp_load import load_profile
from pycontain.plan.seccomp_profile import default_profile
from pycontain.plan.seccomp_tables import AARCH64, ARM, RUNS_ON, X32, X86, X86_64
from pycontain.spec.seccomp import LinuxSeccomp, LinuxSeccompArg, LinuxSyscall

# Source: github.com/moby/profiles seccomp/default.json, commit cd3bed8061c7, 2026-06-30 (Apache-2.0)
REFERENCE = (Path(__file__).parents[1] / "data" / "docker-default-seccomp.json").read_text()
KERNEL = (6, 18)
ALL_CAPS = frozenset(
    cap
    for rule in json.loads(REFERENCE)["syscalls"]
    for condition in ("includes", "excludes")
    for cap in rule.get(condition, {}).get("caps", ())
)


def load(text: str, *caps: str, arch: str = X86_64, kernel: tuple[int, int] = KERNEL) -> LinuxSeccomp:
    return load_profile(text, caps=frozenset(caps), arch=arch, kernel=kernel)


def read_like_moby(document: dict[str, Any], caps: frozenset[str], arch: str, kernel: tuple[int, int]) -> list[Any]:
    """Return the rules that moby keeps, as in the document; its two loops written down."""
    name = {X86_64: "amd64", X86: "x86", AARCH64: "arm64", ARM: "arm"}[arch]
    kept = []
    for rule in document["syscalls"]:
        includes, excludes = rule.get("includes", {}), rule.get("excludes", {})
        if name in excludes.get("arches", ()) or caps & set(excludes.get("caps", ())):
            continue
        if "arches" in includes and name not in includes["arches"]:
            continue
        if set(includes.get("caps", ())) - caps:
            continue
        if "minKernel" in includes and kernel < tuple(map(int, includes["minKernel"].split("."))):
            continue
        kept.append(rule)
    return kept


@pytest.mark.parametrize("kernel", [(4, 7), (4, 8), (5, 0), KERNEL])
@pytest.mark.parametrize("arch", RUNS_ON)
def test_default_profile_is_its_source(arch: str, kernel: tuple[int, int]) -> None:
    document = json.loads(REFERENCE)
    for caps in (frozenset[str](), ALL_CAPS, *(frozenset([cap]) for cap in ALL_CAPS)):
        ours = default_profile(caps, arch, kernel)
        assert ours == load_profile(REFERENCE, caps=caps, arch=arch, kernel=kernel)
        theirs = read_like_moby(document, caps, arch, kernel)
        assert [list(rule.names) for rule in ours.syscalls] == [rule["names"] for rule in theirs]
        assert [(rule.action, rule.errno_ret) for rule in ours.syscalls] == [
            (rule["action"], rule.get("errnoRet")) for rule in theirs
        ]
        assert [[(a.index, a.value, a.value_two, a.op) for a in rule.args] for rule in ours.syscalls] == [
            [(a["index"], a["value"], a.get("valueTwo", 0), a["op"]) for a in rule.get("args", ())] for rule in theirs
        ]


def test_architectures_of_the_default_profile() -> None:
    assert default_profile(frozenset(), X86_64, KERNEL).architectures == (X86_64, X86, X32)
    assert default_profile(frozenset(), AARCH64, KERNEL).architectures == (AARCH64, ARM)
    assert default_profile(frozenset(), ARM, KERNEL).architectures == ()


def test_oci_format() -> None:
    text = """{"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 38, "architectures": ["SCMP_ARCH_X86"],
        "flags": ["SECCOMP_FILTER_FLAG_LOG"], "listenerPath": "/run/s", "listenerMetadata": "x",
        "syscalls": [{"names": ["mmap", "read"], "action": "SCMP_ACT_TRACE", "errnoRet": 7,
                      "args": [{"index": 1, "value": 2, "valueTwo": 3, "op": "SCMP_CMP_MASKED_EQ"}]}]}"""
    argument = LinuxSeccompArg(1, 2, 3, "SCMP_CMP_MASKED_EQ")
    assert load(text) == LinuxSeccomp(
        "SCMP_ACT_ERRNO",
        38,
        ("SCMP_ARCH_X86",),
        ("SECCOMP_FILTER_FLAG_LOG",),
        "/run/s",
        "x",
        (LinuxSyscall(("mmap", "read"), "SCMP_ACT_TRACE", 7, (argument,)),),
    )


def test_what_else_docker_and_podman_write() -> None:
    rule = (
        '{"name": "mount", "action": "SCMP_ACT_ERRNO", "errno": "ENOSYS", "args": null, "comment": "x", "includes": {}}'
    )
    profile = load(
        f'{{"defaultAction": "SCMP_ACT_ERRNO", "defaultErrno": "EPERM", "archMap": null, "syscalls": [{rule}]}}'
    )
    assert profile.default_errno_ret == 1
    assert profile.flags is None
    assert profile.syscalls == (LinuxSyscall(("mount",), "SCMP_ACT_ERRNO", 38),)


def test_excluded_kernel() -> None:
    rule = '{"names": ["read"], "action": "SCMP_ACT_LOG", "excludes": {"minKernel": "5.10"}}'
    text = f'{{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{rule}]}}'
    assert load(text, kernel=(5, 9)).syscalls
    assert not load(text, kernel=(5, 10)).syscalls


def broken(path: str, value: object) -> str:
    """Return a good profile in which the value at a path is replaced (None: taken away)."""
    document: Any = {
        "defaultAction": "SCMP_ACT_ERRNO",
        "archMap": [{"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86"]}],
        "syscalls": [
            {"names": ["read"], "action": "SCMP_ACT_ALLOW"},
            {
                "names": ["clone"],
                "action": "SCMP_ACT_ALLOW",
                "args": [{"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}],
                "includes": {"caps": ["CAP_KILL"], "arches": ["amd64"], "minKernel": "4.8"},
            },
        ],
    }
    place = document
    *way, last = [int(part) if part.isdigit() else part for part in path.replace("[", ".").replace("]", "").split(".")]
    for part in way:
        place = place[part]
    if value is None:
        del place[last]
    else:
        place[last] = value
    return json.dumps(document)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("defaultAction", "SCMP_ACT_DENY"),
        ("defaultAction", 1),
        ("defaultAction", None),
        ("defaultErrnoRet", -1),
        ("defaultErrnoRet", True),
        ("defaultErrno", "ENOSUCH"),
        ("architecture", []),
        ("flags", ["SECCOMP_FILTER_FLAG_NEW"]),
        ("archMap[0].architecture", "SCMP_ARCH_X64"),
        ("archMap[0].subArchitectures[0]", 3),
        ("archMap[0].sub", []),
        ("listenerMetadata", "without a path"),
        ("syscalls", {}),
        ("syscalls[1].action", "allow"),
        ("syscalls[1].action", None),
        ("syscalls[1].names", []),
        ("syscalls[1].names[0]", ""),
        ("syscalls[1].names[0]", 5),
        ("syscalls[1].name", "fork"),
        ("syscalls[1].errnoRet", 1.5),
        ("syscalls[1].include", {}),
        ("syscalls[1].args[0].index", 6),
        ("syscalls[1].args[0].value", 1 << 64),
        ("syscalls[1].args[0].value", None),
        ("syscalls[1].args[0].op", "SCMP_CMP_EQUAL"),
        ("syscalls[1].args[0].operator", ""),
        ("syscalls[1].includes.caps[0]", "KILL"),
        ("syscalls[1].includes.minKernel", "4.8.0"),
        ("syscalls[1].includes.minKernel", 4.8),
        ("syscalls[1].includes.kernel", "4.8"),
        ("syscalls[1].comment", 1),
    ],
)
def test_what_is_wrong_is_named(path: str, value: object) -> None:
    text = broken(path, value)
    with pytest.raises(SpecError) as caught:
        load_profile(text, caps=frozenset(), arch=X86_64, kernel=KERNEL, source="profile.json")
    where = path.rpartition("[")[0] if path == "flags" else path
    assert caught.value.path == (where or "flags[0]")
    assert caught.value.source == "profile.json"


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("{}", "defaultAction"),
        ("[]", ""),
        ('{"defaultAction": "SCMP_ACT_LOG", "defaultAction": "SCMP_ACT_LOG"}', "defaultAction"),
        (
            (
                '{"defaultAction": "SCMP_ACT_LOG", "architectures": ["SCMP_ARCH_X86"],'
                ' "archMap": [{"architecture": "SCMP_ARCH_ARM"}]}'
            ),
            "archMap",
        ),
        ('{"defaultAction": "SCMP_ACT_ERRNO", "defaultErrno": "EPERM", "defaultErrnoRet": 2}', "defaultErrno"),
    ],
)
def test_documents_that_contradict_themselves(text: str, path: str) -> None:
    with pytest.raises(SpecError) as caught:
        load(text)
    assert caught.value.path == path
