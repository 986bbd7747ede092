"""Made-up input of the runtime for engines: whatever a bundle, an option or a state holds, an error is one of ours."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from harness import specs
from harness.examples import examples
from hypothesis import given
from hypothesis import strategies as st

from pycontain.cgroups.cgroup import CgroupPaths
from pycontain.errors import HostError, PycontainError, SpecError, StoreError, UsageError
from pycontain.kernel.constants import SIGRTMAX
from pycontain.oci import bundle
from pycontain.oci.exec import _id
from pycontain.oci.store import Container, State, check_id
from pycontain.plan.facts import UserNamespace
from pycontain.plan.seccomp import compile_filter
from pycontain.plan.seccomp_tables import AARCH64, X86_64
from pycontain.runtime import processes
from pycontain.runtime.signals import signal_number
from pycontain.spec.decode import decode_process
from pycontain.spec.ids import IDMapping
from pycontain.spec.mount_options import KNOWN_OPTIONS, parse_options

WORD = st.text(st.characters(exclude_categories=("Cs",)), max_size=6)
JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.integers(-1, 70) | st.floats() | WORD,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORD, inner, max_size=3),
    max_leaves=6,
)
CONFIG = json.dumps(specs.full()).encode()


def replaced(document: Any, data: st.DataObject, value: object) -> Any:
    """Return a copy of a document with a value in some place, at any depth."""
    if not isinstance(document, (dict, list)) or not document or data.draw(st.integers(0, 4)) == 0:
        return value
    copy = document.copy()
    key = data.draw(st.sampled_from(sorted(copy) if isinstance(copy, dict) else range(len(copy))))
    copy[key] = replaced(copy[key], data, value)
    return copy


def refusal(call: Callable[[], object], *kinds: type[PycontainError]) -> str:
    """Return what a call says when it refuses its input, one line, or "" where it takes it."""
    try:
        call()
    except kinds as error:
        said = str(error)
    else:
        return ""
    assert said.isprintable()
    assert said
    return said


@given(st.data(), st.binary(max_size=8))
@examples(100)
def test_a_damaged_configuration(data: st.DataObject, inserted: bytes) -> None:
    """Bytes that are cut out, doubled or put in: nothing but SpecError, which names the file."""
    start = data.draw(st.integers(0, len(CONFIG)))
    end = data.draw(st.integers(max(start - 20, 0), min(start + 20, len(CONFIG))))
    said = refusal(lambda: bundle.read(CONFIG[:start] + inserted + CONFIG[end:]), SpecError)
    assert not said or "config.json" in said


@given(st.binary(max_size=40))
def test_any_bytes_for_a_configuration(data: bytes) -> None:
    with pytest.raises(SpecError, match=r"config\.json"):
        bundle.read(data)


@given(st.data(), JSON)
@examples(100)
def test_any_process_for_exec(data: st.DataObject, value: object) -> None:
    document = replaced(specs.full()["process"], data, value)
    said = refusal(lambda: decode_process(document, source="process.json"), SpecError)
    assert not said or "process.json" in said


OPTION = st.sampled_from(KNOWN_OPTIONS) | st.builds(
    "{}={}".format, st.sampled_from(["idmap", "ridmap", "size", "mode", "uid", "ro", ""]) | WORD,
    st.sampled_from(["uids=0-1-2", "uids=0-1-2#3-4-5;gids=@0-1-2", "0", ""]) | WORD,
) | WORD  # fmt: skip


@given(st.lists(OPTION, max_size=6))
@examples(200)
def test_any_mount_options(words: list[str]) -> None:
    """They are taken, or refused with the place of the one that is wrong."""
    said = refusal(lambda: parse_options(tuple(words), "mounts[3].options"), SpecError)
    assert not said or "mounts[3].options" in said


@given(st.sampled_from([X86_64, AARCH64]), st.data(), JSON)
@examples(100)
def test_any_filter(native: str, data: st.DataObject, value: object) -> None:
    """It is compiled to a program that the kernel's limits allow, or refused."""
    document = specs.full()
    document["linux"]["seccomp"] = replaced(document["linux"]["seccomp"], data, value)

    def compiled() -> None:
        spec, _ = bundle.read(json.dumps(document).encode())
        if spec.linux.seccomp is not None:
            program = compile_filter(spec.linux.seccomp, native).program
            assert len(program) % 8 == 0
            assert 0 < len(program) // 8 <= 4096

    refusal(compiled, SpecError, HostError)


@given(WORD)
def test_any_word_for_an_id_or_a_signal(text: str) -> None:
    for parse in (lambda: _id("user", text), lambda: check_id(text)):
        refusal(parse, UsageError)
    assert -1 <= signal_number(text) <= SIGRTMAX


SAVED = State(
    id="c",
    bundle="/b",
    rootfs="/b/r",
    oci_version="1.2.0",
    created_ns=1,
    boot_id=processes.boot_id(),
    status="running",
    pid=1,
    pid_start=processes.start_time(1) or 0,
    annotations={"a": "b"},
    paths=("/bin/true",),
    hooks=("poststop",),
    cgroup=CgroupPaths(unified="/sys/fs/cgroup/none", v1={"memory": "/sys/fs/cgroup/memory/none"}).asdict(),
    userns=UserNamespace("custom", (IDMapping(0, 1, 2),), (IDMapping(0, 1, 2),)).asdict(),
    scheduling={"personality": 0, "memory_mode": 1, "memory_nodes": [0]},
)


def test_a_state_with_everything_in_it_is_read_again(tmp_path: Path) -> None:
    container = Container(str(tmp_path), "c")
    Path(container.directory).mkdir()
    container.save(SAVED)
    assert container.load().asdict() == SAVED.asdict()


@given(st.data(), JSON)
@examples(100)
def test_any_state(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, value: object) -> None:
    """What was damaged is refused, whatever has become of it."""
    container = Container(str(tmp_path_factory.mktemp("state")), "c")
    Path(container.directory).mkdir()
    container.save(SAVED)
    path = Path(container.directory, "state.json")
    saved = json.loads(path.read_text())
    damaged = replaced(saved, data, value)
    path.write_text(json.dumps(damaged, separators=(",", ":")))
    if damaged == saved:
        return
    with pytest.raises(StoreError, match="damaged state"):
        container.load()


@given(st.binary(max_size=60))
def test_any_bytes_for_a_state(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    container = Container(str(tmp_path_factory.mktemp("state")), "c")
    Path(container.directory).mkdir()
    Path(container.directory, "state.json").write_bytes(data)
    with pytest.raises(StoreError):
        container.load()
