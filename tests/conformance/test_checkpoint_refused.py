"""What is said where there is no CRIU that can be used: some are played by this interpreter."""

from __future__ import annotations

import sys
from pathlib import Path

from harness.oci import Oci
from harness.probe import requires

PLAYED = """#!{python} -I
import socket, sys
sys.path.insert(0, {repository!r})
from pycontain.oci.criu import CHECK, REQUEST, RESPONSE, VERSION
from pycontain.oci.wire import decode, encode
sock = socket.socket(fileno=3)
while data := sock.recv(65536):
    asked = decode(REQUEST, data)
    if asked["type"] == VERSION:
        version = dict(zip(("major_number", "minor_number", "sublevel"), {version}))
        answer = dict(type=VERSION, success=True, version=version)
    elif asked["type"] == CHECK:
        answer = dict(type=CHECK, success={fit})
    else:
        answer = dict(type=asked["type"], success=False, cr_errno=22)
    sock.send(encode(RESPONSE, answer))
"""


def played(oci: Oci, version: tuple[int, int, int], *, fit: bool) -> str:
    path = oci.place / "criu"
    repository = str(Path(__file__).parents[2])
    path.write_text(PLAYED.format(python=sys.executable, repository=repository, version=version, fit=fit))
    path.chmod(0o755)
    return str(path)


@requires("root")
def test_what_criu_is_said_to_be(oci: Oci) -> None:
    """One line that names it and the cure; the container goes on."""
    document = oci.config("sleep", "1000")
    bundle = oci.bundle(document)
    oci.ok("run", "--detach", "--bundle", bundle, "c")
    path = oci.place / "images"
    checkpoint = ("checkpoint", "--image-path", path, "c")
    said = oci.fails("--criu", "/nowhere/criu", *checkpoint)
    assert said.count("\n") == 1
    assert "/nowhere/criu is not installed: checkpoint and restore need CRIU 3.15 or later" in said
    said = oci.fails("--criu", played(oci, (3, 11, 0), fit=True), *checkpoint)
    assert "is version 3.11.0: checkpoint and restore need CRIU 3.15 or later" in said
    said = oci.fails("--criu", played(oci, (4, 0, 0), fit=True), *checkpoint)
    assert "criu cannot checkpoint the container: invalid argument" in said
    assert "criu check" not in said
    said = oci.fails("--criu", played(oci, (4, 0, 0), fit=False), *checkpoint)
    assert "this kernel lacks what CRIU needs, see criu check" in said
    assert "does not answer" in oci.fails("--criu", "/bin/true", *checkpoint)
    assert oci.state("c")["status"] == "running"
    (path / "inventory.img").touch()
    (path / "descriptors.json").write_text("[]")
    other = oci.bundle(oci.config("sleep", "1000"), "other")
    restore = ("restore", "--image-path", path, "--bundle", other, "d")
    said = oci.fails("--criu", played(oci, (4, 0, 0), fit=False), *restore)
    assert "criu cannot restore the container: invalid argument" in said
    assert "/nowhere/criu is not installed" in oci.fails("--criu", "/nowhere/criu", *restore)
    assert oci.left() == ["c"]
