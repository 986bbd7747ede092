"""The user that tests run as is an ordinary one, and making it changes nothing on the machine."""

from __future__ import annotations

import sys
from pathlib import Path

from harness.ordinary_user import FIRST_SUBID, NAME, UID, OrdinaryUser, closed_ancestor


def test_is_an_account_without_privilege(user: OrdinaryUser) -> None:
    script = "id -u; id -g; id -G; id -un; pwd; grep -E 'Cap(Eff|Prm|Inh)|NoNewPrivs' /proc/self/status | cut -f2"
    lines = user.run("sh", "-c", script).stdout.split()
    zero = "0000000000000000"
    # not no_new_privs: newuidmap is a setuid program
    assert lines == [str(UID), str(UID), str(UID), NAME, str(user.home), zero, zero, zero, "0"]


def test_environment_is_a_login(user: OrdinaryUser) -> None:
    names = {line.partition("=")[0] for line in user.run("env").stdout.splitlines()}
    assert {"HOME", "XDG_RUNTIME_DIR"} <= names <= {*user.env, "PWD", "OLDPWD", "SHLVL", "_"}


def test_reaches_the_program_and_its_packages(user: OrdinaryUser) -> None:
    assert user.run(sys.executable, "-I", "-c", "import click").stderr == ""


def test_can_write_at_home_only(user: OrdinaryUser) -> None:
    assert user.run("touch", "here").returncode == 0
    assert user.run("touch", "/etc/here").returncode == 1


def test_has_no_subordinate_ids_unless_asked(user: OrdinaryUser) -> None:
    assert "not allowed" in _map_a_range(user)


def test_has_subordinate_ids(user_with_subids: OrdinaryUser) -> None:
    assert _map_a_range(user_with_subids).split() == ["0", str(FIRST_SUBID), "65536"]


def test_accounts_of_the_machine_stay(user_with_subids: OrdinaryUser) -> None:
    assert NAME in user_with_subids.run("cat", "/etc/passwd", "/etc/subuid").stdout
    for name in ("passwd", "group", "subuid", "subgid"):
        path = Path("/etc", name)
        assert not path.exists() or NAME not in path.read_text()
    assert str(user_with_subids.base) not in Path("/proc/self/mountinfo").read_text()


def test_closed_ancestor_is_the_highest(tmp_path: Path) -> None:
    (tmp_path / "closed/open/below").mkdir(parents=True)
    (tmp_path / "closed").chmod(0o700)
    # pytest's own directory above may be closed too
    assert closed_ancestor(tmp_path / "closed/open/below") == closed_ancestor(tmp_path / "closed")
    assert closed_ancestor(Path("/usr/bin")) is None


def _map_a_range(user: OrdinaryUser) -> str:
    script = f"""
        exec 2>&1
        unshare -U sleep 5 & pid=$!
        while [ "$(readlink /proc/$pid/ns/user)" = "$(readlink /proc/self/ns/user)" ]; do sleep 0.05; done
        newuidmap $pid 0 {FIRST_SUBID} 65536
        cat /proc/$pid/uid_map
        kill $pid
    """
    return user.run("sh", "-c", script).stdout
