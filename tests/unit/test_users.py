"""``-u`` and ``--group-add``: docker's rules, strict about what is a number."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pycontain.engine.users import ID_LIMIT, Identity, resolve
from pycontain.errors import UsageError

PASSWD = b"""\
root:x:0:0:root:/root:/bin/sh
# comment:x:5:5::/c:/bin/sh
+nis:::::
web:x:33:34:web:/var/www:/usr/sbin/nologin
bare:x:40:41
relative:x:50:50::home:/bin/sh
4294967297:x:0:0:root again:/root:/bin/sh
1000:x:0:0:root again:/root:/bin/sh
huge:x:4294967297:0::/:/bin/sh
minus:x:-1:0::/:/bin/sh
\xe4\xf6:x:60:60::/\xff:/bin/sh
"""
GROUP = b"""\
root:x:0:
wheel:x:10:root,web
web:x:34:
audio:x:29: web ,bare
huge:x:99999999999:web
1000:x:0:
broken
"""


def who(spec: str, *groups: str) -> Identity:
    return resolve(spec, groups, PASSWD, GROUP)


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("", Identity(0, 0, (0, 10), "/root", "root")),
        ("0", Identity(0, 0, (0, 10), "/root", "root")),
        ("00", Identity(0, 0, (0, 10), "/root", "root")),
        ("root", Identity(0, 0, (0, 10), "/root", "root")),
        ("web", Identity(33, 34, (34, 10, 29), "/var/www", "web")),
        ("33", Identity(33, 34, (34, 10, 29), "/var/www", "web")),
        ("web:web", Identity(33, 34, (34,), "/var/www", "web")),
        ("web:7", Identity(33, 7, (7,), "/var/www", "web")),
        ("1000", Identity(1000, 0, (0,))),
        ("1000:1000", Identity(1000, 1000, (1000,))),
        ("bare", Identity(40, 41, (41, 29), "/", "bare")),
        ("relative", Identity(50, 50, (50,), "/", "relative")),
        (":7", Identity(0, 7, (7,), "/root", "root")),
        ("4294967294", Identity(4294967294, 0, (0,))),
    ],
)
def test_users(spec: str, expected: Identity) -> None:
    assert who(spec) == expected


@pytest.mark.parametrize(
    "spec",
    [":", "1:", "web:", "0x0", " 1", "1 ", "4294967296", "4294967295", "4294967297", "-1", "+1", "nobody", "huge",
     "minus",
     "comment", "# comment", "+nis", "web:wheels", "1:2:3", "::", "root\n", "\u0661", "1:4294967295",
     "99999999999999999999"],
)  # fmt: skip
def test_wrong_users_are_errors_never_root(spec: str) -> None:
    with pytest.raises(UsageError, match="--user"):
        who(spec)


def test_group_add() -> None:
    assert who("web", "audio", "7", "7").additional_gids == (34, 10, 29, 7)
    for text in ("nope", "-1", "4294967295", "", "99999999999"):
        with pytest.raises(UsageError, match="--group-add"):
            who("web", text)


def test_missing_files() -> None:
    assert resolve("", (), b"", b"") == Identity(0, 0, (0,))
    with pytest.raises(UsageError, match="/etc/passwd"):
        resolve("web", (), b"", b"")


@given(st.text(max_size=14), st.binary(max_size=60), st.binary(max_size=60))
def test_anything_is_an_identity_or_an_error(spec: str, passwd: bytes, group: bytes) -> None:
    try:
        found = resolve(spec, (), passwd, group)
    except UsageError:
        return
    assert 0 <= found.uid < ID_LIMIT
    assert all(0 <= gid < ID_LIMIT for gid in found.additional_gids)
    assert found.home.startswith("/")
