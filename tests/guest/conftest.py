"""Boots the guests when the session begins and shows their tests last, so that they run beside all others.

Keeps the tests that only make sense inside a guest out of the outer run.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from harness import probe
from harness.guests import NEEDS, Guest, selection
from harness.images import rootfs

collect_ignore = ["inside"] if "PYCONTAIN_GUEST" not in os.environ else ["test_guests.py"]

GUESTS = pytest.StashKey[dict[str, Guest]]()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.path.name == "test_guests.py")


@pytest.hookimpl(wrapper=True)
def pytest_runtestloop(session: pytest.Session) -> Iterator[None]:
    """Run the tests beside the guests that some of them ask for."""
    wanted = {} if session.config.option.collectonly else _wanted(session.items)
    if wanted:
        rootfs("busybox")  # a guest's writes are dropped: what it needs must be built outside
    with TemporaryDirectory(prefix="guests-") as directory:
        guests: dict[str, Guest] = {}
        session.config.stash[GUESTS] = guests
        try:
            for name, tests in wanted.items():
                kept = Path(directory, name)
                kept.mkdir()
                guests[name] = Guest(name, tests, kept)
            return (yield)
        finally:
            for guest in guests.values():
                guest.close()


def _wanted(items: list[pytest.Item]) -> dict[str, set[str]]:
    """Return what each guest that this host can boot has to run for the chosen tests."""
    wanted: dict[str, set[str]] = defaultdict(set)
    here = [name for name, needs in NEEDS.items() if all(map(probe.has, needs))]
    for item in items:
        if not isinstance(item, pytest.Function) or item.path.name != "test_guests.py":
            continue
        if "every_guest" in item.fixturenames:
            for name in here:
                wanted[name].update(selection(name))
        elif "inner" in item.fixturenames and item.callspec.params["guest"] in here:
            wanted[item.callspec.params["guest"]].add(item.callspec.params["inner"])
    return wanted


@pytest.fixture
def guests(pytestconfig: pytest.Config) -> dict[str, Guest]:
    """Return the guests that were booted, by name."""
    return pytestconfig.stash[GUESTS]


@pytest.fixture
def every_guest(guests: dict[str, Guest]) -> dict[str, Guest]:
    """Return the guests; whoever asks for this has them run all that they have."""
    return guests
