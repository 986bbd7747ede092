"""What an ordinary user says at the command line, without and with subordinate ids."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
from harness.cli import Cli
from harness.images import copy, memory_directory, remove
from harness.ordinary_user import UID, OrdinaryUser


def test_one_id(user: OrdinaryUser, busybox: Path) -> None:
    cli, root = user.cli(), user.rootfs(busybox)
    assert cli.ok("run", "--rm", root, "id", "-u") == "0\n"
    assert cli.ok("run", "--rm", "--privileged", root, "id", "-u") == "0\n"
    assert "/etc/subuid" in cli.fails("run", "--rm", "--userns", "keep-id", root, "true")
    assert "ordinary user" in cli.fails("run", "--rm", "--userns", "host", root, "true")
    assert "one group only" in cli.fails("run", "--rm", "--group-add", "5", root, "true")
    assert "33:33" in cli.fails("run", "--rm", "-u", "33:33", root, "true")
    assert "idmap" in cli.fails("run", "--rm", "-v", f"{user.home}:/h:idmap", root, "true")


@pytest.mark.parametrize("ids", ["user", "user_with_subids"])
def test_a_root_of_somebody_elses_without_mount_points(ids: str, busybox: Path, request: pytest.FixtureRequest) -> None:
    cli = request.getfixturevalue(ids).cli()
    root = copy(busybox, memory_directory("bare-") / "rootfs")
    try:
        for name in ("hostname", "hosts", "resolv.conf"):
            (root / "etc" / name).unlink(missing_ok=True)
        shutil.rmtree(root / "sys", ignore_errors=True)
        (root / "etc").chmod(0o751)
        script = "hostname; cat /etc/hostname; stat -c %a-%u /etc; test -d /sys/kernel && echo sys; echo x > /etc/new"
        done = cli.ok("run", "--rm", "-h", "box", "-v", f"{busybox}:/a/b/c", root, "sh", "-c", script)
        assert done == "box\nbox\n751-0\nsys\n"
        assert {"hostname", "new"}.isdisjoint(os.listdir(root / "etc"))
        assert not (root / "sys").exists()
    finally:
        remove(root.parent)


def test_a_range_of_ids(user_with_subids: OrdinaryUser, busybox: Path) -> None:
    cli, root = user_with_subids.cli(), user_with_subids.rootfs(busybox)
    assert cli.ok("run", "--rm", "-u", "33:34", "--group-add", "5", root, "sh", "-c", "id -u; id -G") == "33\n34 5\n"
    assert cli.ok("run", "--rm", "--userns", "keep-id", root, "sh", "-c", "id -u; id -g") == f"{UID}\n{UID}\n"
    assert cli.ok("run", "--rm", "--userns", "keep-id", "-u", "0", root, "id", "-u") == "0\n"


def test_volumes_belong_to_the_user(user: OrdinaryUser, busybox: Path) -> None:
    cli, root = user.cli(), user.rootfs(busybox)
    cli.ok("run", "--rm", "-v", "data:/data", root, "sh", "-c", "echo x > /data/file")
    assert cli.ok("run", "--rm", "-v", "data:/data:ro", root, "cat", "/data/file") == "x\n"
    (found,) = json.loads(cli.ok("volume", "inspect", "data"))
    assert Path(found["Mountpoint"], "file").stat().st_uid == UID
    assert cli.ok("volume", "rm", "data") == "data\n"


def test_doctor(user: OrdinaryUser, busybox: Path) -> None:
    done = user.cli().run("doctor")
    assert done.returncode in (0, 1)
    assert "ordinary user" in done.stdout
    assert "usermod --add-subuids" in done.stdout


def test_doctor_of_a_user_without_account(pycontain: Cli) -> None:
    os.chown(pycontain.root, 65532, 65532)
    done = Cli(pycontain.root, prefix=("setpriv", "--reuid=65532", "--regid=65532", "--clear-groups")).run("doctor")
    assert done.returncode in (0, 1), done.stderr
    assert "no range for 65532" in done.stdout
