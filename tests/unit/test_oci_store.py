"""The state file of a container of pycontain-oci: what is saved is what is loaded."""

from __future__ import annotations

from pathlib import Path

from pycontain.cgroups.cgroup import CgroupPaths
from pycontain.oci.store import State, Store
from pycontain.plan.facts import USERNS_CUSTOM, UserNamespace, saved_users
from pycontain.spec.ids import IDMapping


def test_records_within_a_state_are_those_that_are_saved(tmp_path: Path) -> None:
    """A field that a record gains is one that the file may have."""
    users = UserNamespace(USERNS_CUSTOM, (IDMapping(0, 1, 2),), (IDMapping(3, 4, 5),), idmap=True, setgroups=False)
    paths = CgroupPaths("/u/c", "/u", "/u/own", {"cpu": "/cpu/c"}, {"memory": "is not there"})
    container = Store(str(tmp_path)).add("c")
    state = State("c", "/b", "/r", "1.2.0", 1, "boot", userns=users.asdict(), cgroup=paths.asdict())
    container.save(state)
    loaded = container.load()
    container.unlock()
    assert saved_users(loaded.userns) == users
    assert CgroupPaths(**loaded.cgroup) == paths
