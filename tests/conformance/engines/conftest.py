"""The engines, started once. Every test runs on runc and on our runtime: what passes with one must with the other."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from harness import engines
from harness.engines import Engine, Room


@pytest.fixture(scope="session")
def room(busybox: Path) -> Iterator[Room]:
    """Yield the room that all engines share; ``rootfs`` in it is a busybox."""
    engines.needs("unshare", "nsenter", "setpriv", "runc")
    opened = Room()
    try:
        opened.run("cp", "-a", busybox, "/run/engines/rootfs")
        yield opened
    finally:
        opened.close()


@pytest.fixture(scope="session")
def containerd(room: Room) -> Iterator[None]:
    """Have containerd run."""
    engines.needs("containerd", "ctr")
    with engines.containerd(room):
        yield


@pytest.fixture(scope="session")
def docker_image(room: Room, containerd: None) -> Iterator[None]:
    """Have dockerd run, with an image."""
    engines.needs("dockerd", "docker")
    with engines.dockerd(room):
        _import(room, Engine(room, "docker", "runc"))
        yield


@pytest.fixture(scope="session")
def podman_image(room: Room) -> None:
    """Have an image in podman's storage."""
    engines.needs("podman", "conmon")
    _import(room, Engine(room, "podman", "runc"))


def _import(room: Room, engine: Engine) -> None:
    done = room.run("sh", "-c", f"tar -C /run/engines/rootfs -c . | {' '.join(engine.program)} import - busybox")
    assert done.returncode == 0, done.stderr


@pytest.fixture(params=engines.RUNTIMES)
def runtime(request: pytest.FixtureRequest) -> str:
    """Return the name of a runtime."""
    return str(request.param)


@pytest.fixture(params=["podman", "docker"])
def engine(request: pytest.FixtureRequest, room: Room, runtime: str) -> Iterator[Engine]:
    """Yield an engine on a runtime; at the end its containers are removed."""
    yield from _cleaned(Engine(room, request.param, runtime))


@pytest.fixture
def podman(room: Room, runtime: str) -> Iterator[Engine]:
    """Yield Podman on a runtime."""
    yield from _cleaned(Engine(room, "podman", runtime))


@pytest.fixture
def docker(room: Room, runtime: str) -> Iterator[Engine]:
    """Yield Docker on a runtime."""
    yield from _cleaned(Engine(room, "docker", runtime))


def _cleaned(engine: Engine) -> Iterator[Engine]:
    try:
        yield engine
    finally:
        engine.remove_all()
