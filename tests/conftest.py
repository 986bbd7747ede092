"""Fixtures of the whole suite. The working parts are in ``tests/harness``.

Every test outside ``unit``, ``architecture`` and ``docs``, and what is marked ``runtime`` there, is checked for what it
leaves on the host; those tests hold a lock of the machine, because another run of this suite beside it would look like
a leak. Who shares the machine with others that use pycontain sets ``PYCONTAIN_TESTS_SHARED=1``: no lock, and what
belongs to containers of other root directories is not counted.
"""

from __future__ import annotations

import fcntl
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

import hypothesis
import pytest

# the tests import `harness` whatever pytest's import mode; the repository's own top must not come into the path, or the
# source tree would hide the installed package
sys.path.insert(0, os.path.dirname(__file__))

from harness import images, leaks, probe
from harness.cli import Cli
from harness.examples import examples
from harness.guests import GuestReport, keep_marked
from harness.ordinary_user import OrdinaryUser

T = TypeVar("T")

hypothesis.settings.register_profile("pycontain", examples(100))
hypothesis.settings.load_profile("pycontain")

SHARED = bool(os.environ.get("PYCONTAIN_TESTS_SHARED"))

#: Directories of tests that, unless marked ``runtime``, neither start a container nor change anything on the host.
PURE = ("unit", "architecture", "docs")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="write the golden plans of tests/data/plans anew")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "requires(*names): skip, naming what is missing, unless the host has all of it")
    config.addinivalue_line("markers", "runtime: starts containers; checked for leaks wherever the test lies")
    config.addinivalue_line("markers", "guest(*names): also run this test in the guests uml and qemu, or those named")
    config.addinivalue_line("markers", "host: not in the guests, where it would take minutes")
    config.addinivalue_line("markers", "background(*fixtures): of the session, there before the test is looked at")
    report = os.environ.get("PYCONTAIN_GUEST_REPORT")
    if report:
        config.pluginmanager.register(GuestReport(Path(report)))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    guest = os.environ.get("PYCONTAIN_GUEST")
    if guest:
        items[:], others = keep_marked(items, guest)
        config.hook.pytest_deselected(items=others)
    for item in items:
        if _is_checked(item) and isinstance(item, pytest.Function):
            # before any other fixture, so that it ends after them
            item.fixturenames.insert(0, "leak_check")


def pytest_runtest_setup(item: pytest.Item) -> None:
    names = [name for mark in item.iter_markers("requires") for name in mark.args]
    missing = [name for name in names if not probe.has(name)]
    if missing:
        pytest.skip(f"this host lacks {', '.join(missing)}")


def _is_checked(item: pytest.Item) -> bool:
    tests = Path(__file__).parent
    pure = item.path.is_relative_to(tests) and item.path.relative_to(tests).parts[0] in PURE
    return not pure or item.get_closest_marker("runtime") is not None


def _ours(left: list[str], temporary: pytest.TempPathFactory) -> list[str]:
    """Return ``left``, on a shared machine without what belongs to containers of others."""
    if not SHARED:
        return left
    return leaks.without_foreign(left, (images.OWN_PREFIX, str(temporary.getbasetemp())))


@pytest.fixture(scope="session")
def session_picture(machine_lock: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Compare the host before the first checked test with the host after the last."""
    before = leaks.take()
    yield
    if not SHARED:
        fcntl.flock(machine_lock, fcntl.LOCK_EX)
    left = _ours(leaks.left_since(before), tmp_path_factory)
    assert not left, "left on the host by the whole session:\n" + "\n".join(left)


@pytest.fixture(scope="session")
def machine_lock() -> Iterator[int]:
    """Yield the descriptor of a file on which runs of this suite exclude each other."""
    directory = "/run/lock" if os.access("/run/lock", os.W_OK) else "/tmp"
    descriptor = os.open(
        f"{directory}/pycontain-tests-{os.getuid()}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600
    )
    yield descriptor
    os.close(descriptor)


@pytest.fixture
def leak_check(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test that leaves a mount, cgroup, process, namespace, link, loop device or claim behind."""
    lock = request.getfixturevalue("machine_lock")
    if not SHARED:
        fcntl.flock(lock, fcntl.LOCK_EX)
    try:
        request.getfixturevalue("session_picture")
        for mark in request.node.iter_markers("background"):
            for name in mark.args:
                request.getfixturevalue(name)
        before = leaks.take()
        yield
        left = _ours(leaks.left_since(before), request.getfixturevalue("tmp_path_factory"))
        assert not left, "left on the host:\n" + "\n".join(left)
    finally:
        fcntl.flock(lock, fcntl.LOCK_UN)


@pytest.fixture(scope="session")
def busybox() -> Path:
    """Return a busybox root file system; tests must not write to it."""
    return images.rootfs("busybox")


@pytest.fixture(scope="session")
def debian() -> Path:
    """Return a small Debian root file system with python3; tests must not write to it."""
    return images.rootfs("debian")


@pytest.fixture
def pycontain() -> Iterator[Cli]:
    """Yield the program with a root directory of its own on tmpfs; at the end nothing may be left there either."""
    root = images.memory_directory("root-")
    try:
        cli = Cli(root)
        yield from _emptied(cli, cli)
    finally:
        images.remove(root)


@pytest.fixture
def user() -> Iterator[OrdinaryUser]:
    """Yield an ordinary user without subordinate ids."""
    yield from _user(subids=False)


@pytest.fixture
def user_with_subids() -> Iterator[OrdinaryUser]:
    """Yield an ordinary user with 65,536 subordinate ids."""
    yield from _user(subids=True)


def _user(*, subids: bool) -> Iterator[OrdinaryUser]:
    if not probe.has("user"):
        pytest.skip("this host lacks user: only root can become another user")
    account = OrdinaryUser(subids=subids)
    try:
        yield from _emptied(account, account.cli())
    finally:
        account.close()


def _emptied(value: T, cli: Cli) -> Iterator[T]:
    """Yield ``value`` to a test, then remove every container of ``cli`` and fail if anything of them is left."""
    yield value
    containers = cli.containers()
    cli.remove_all()
    left = cli.leftovers()
    if left:
        leaks.mop_up(containers)
    assert not left, "left in the root directory:\n" + "\n".join(left)
