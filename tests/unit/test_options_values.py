"""Values of single options: what is taken, and that what is refused names the option, the value, and a way out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pycontain import sizes
from pycontain.engine import deviceargs, envfile, limits, namespaces, netfiles, security, signals
from pycontain.engine.capabilities import DEFAULT, NAMES, effective, parse_name
from pycontain.engine.limits import RLIM_INFINITY, Ulimit
from pycontain.errors import HostError, UsageError


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", 0),
        ("1", 1),
        ("17b", 17),
        ("64m", 64 << 20),
        ("64M", 64 << 20),
        ("64mb", 64 << 20),
        ("64MiB", 64 << 20),
        ("1.5g", 3 << 29),
        (".5k", 512),
        ("32 kB", 32 << 10),
        ("2t", 2 << 40),
        ("0.0000001k", 0),
        ("9223372036854775807", sizes.MAX_INT64),
    ],
)
def test_sizes(text: str, expected: int) -> None:
    assert sizes.parse_size("--memory", text) == expected


@pytest.mark.parametrize(
    "text",
    ["", " ", "b", "m", "abc", "-1", "+1", "1x", "1mm", "1ib", "1 m ", " 1", "1e3", "0x10", "1.2.3", "1,5g", "٣",
     "1_000", "8388608t", "9" * 50],
)  # fmt: skip
def test_no_sizes(text: str) -> None:
    with pytest.raises(UsageError, match="--memory: ") as caught:
        sizes.parse_size("--memory", text)
    assert repr(text) in str(caught.value)
    assert caught.value.hint


@given(st.integers(0, 2**40), st.sampled_from(["", "b", "k", "m"]))
def test_whole_sizes_are_exact(number: int, unit: str) -> None:
    assert sizes.parse_size("-m", f"{number}{unit}") == number << {"": 0, "b": 0, "k": 10, "m": 20}[unit]


@given(st.text(max_size=12))
def test_any_text_is_a_size_or_an_error(text: str) -> None:
    try:
        value = sizes.parse_size("-m", text)
    except UsageError:
        return
    assert 0 <= value <= sizes.MAX_INT64


def test_cpus() -> None:
    assert sizes.parse_cpus("--cpus", "1.5") == 150_000
    assert sizes.parse_cpus("--cpus", "0.01") == 1000
    for text in ("0.001", "-1", "abc", "", "1e2"):
        with pytest.raises(UsageError):
            sizes.parse_cpus("--cpus", text)


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("-3d", -259200), ("1h30m", 5400), ("1.5h", 5400), ("+2s", 2), ("0", 0)]
)
def test_durations(text: str, seconds: int) -> None:
    assert sizes.parse_duration_ns("--time-offset", text) == seconds * 10**9


@pytest.mark.parametrize("text", ["", "-", "h", "1h30", "1 h", "1y", "--1", "1h-1m", "9999999999999"])
def test_no_durations(text: str) -> None:
    with pytest.raises(UsageError):
        sizes.parse_duration_ns("--time-offset", text)


def test_ulimits() -> None:
    assert limits.parse_ulimit("nofile=100:200") == Ulimit("nofile", 100, 200)
    assert limits.parse_ulimit("core=0") == Ulimit("core", 0, 0)
    assert limits.parse_ulimit("memlock=-1") == Ulimit("memlock", RLIM_INFINITY, RLIM_INFINITY)
    assert limits.parse_ulimit("memlock=5:unlimited") == Ulimit("memlock", 5, RLIM_INFINITY)
    for text in (
        "nofile",
        "nofile=",
        "nofile=a",
        "nofile=2:1",
        "nofile=1:2:3",
        "nofile=-2",
        "nofile=-1:5",
        "=1",
        "nofile=1:",
    ):
        with pytest.raises(UsageError, match="--ulimit"):
            limits.parse_ulimit(text)
    with pytest.raises(UsageError) as caught:
        limits.parse_ulimit("nofil=1")
    assert "nofile" in caught.value.hint


def limits_of(**texts: str) -> limits.Limits:
    return limits.parse_limits({name.replace("_", "-"): text for name, text in texts.items()})


def test_limits() -> None:
    assert limits_of(cpus="0.5") == limits.Limits(cpu_quota_us=50_000, cpu_period_us=100_000)
    assert limits_of(memory="1g", memory_swap="-1").memory_swap == -1
    assert limits_of(cpuset_cpus="0-3,7").cpuset_cpus == "0-3,7"
    assert limits_of(cpus="0", memory="0", cpu_shares="0", cpu_quota="-1") == limits.Limits()


@pytest.mark.parametrize(
    ("texts", "names"),
    [
        ({"cpus": "1", "cpu_quota": "5000"}, ["--cpus", "--cpu-quota"]),
        ({"memory_swap": "1g"}, ["--memory-swap", "--memory"]),
        ({"memory": "2g", "memory_swap": "1g"}, ["--memory-swap", "--memory"]),
        ({"memory": "1m", "memory_reservation": "2m"}, ["--memory-reservation", "--memory"]),
        ({"cpu_shares": "512", "cpu_weight": "50"}, ["--cpu-shares", "--cpu-weight"]),
        ({"cpu_shares": "1"}, ["--cpu-shares"]),
        ({"cpu_quota": "999"}, ["--cpu-quota"]),
        ({"cpu_period": "999"}, ["--cpu-period"]),
        ({"blkio_weight": "9"}, ["--blkio-weight"]),
        ({"cpuset_cpus": "3-1"}, ["--cpuset-cpus"]),
        ({"cpuset_mems": "a"}, ["--cpuset-mems"]),
        ({"pids_limit": "-2"}, ["--pids-limit"]),
        ({"pids_limit": "1.5"}, ["--pids-limit"]),
    ],
)
def test_wrong_limits_name_the_options(texts: dict[str, str], names: list[str]) -> None:
    with pytest.raises(UsageError) as caught:
        limits_of(**texts)
    assert all(name in str(caught.value) for name in names)
    assert caught.value.hint


def test_throttles() -> None:
    found = limits.parse_throttles("--device-read-bps", ("/dev/sda:1m", "/dev/sda:2m"), sizes=True)
    assert found == (limits.Throttle("/dev/sda", 2 << 20),)
    for text in ("/dev/sda", "sda:1m", "/dev/sda:", "/dev/sda:x"):
        with pytest.raises(UsageError, match="--device-read-bps"):
            limits.parse_throttles("--device-read-bps", (text,), sizes=True)


def test_devices() -> None:
    assert deviceargs.parse_device("/dev/fuse") == deviceargs.DeviceArg("/dev/fuse", "/dev/fuse", "rwm")
    assert deviceargs.parse_device("/dev/fuse:r") == deviceargs.DeviceArg("/dev/fuse", "/dev/fuse", "r")
    assert deviceargs.parse_device("/dev/sda:/dev/xvda:rw") == deviceargs.DeviceArg("/dev/sda", "/dev/xvda", "rw")
    for text in ("", "fuse", "/dev/fuse:rx", "/dev/a:/dev/b:rwmm", "/dev/a:b:r", "/dev/a:/b:r:w", "vendor.com/gpu=all"):
        with pytest.raises(UsageError, match="--device"):
            deviceargs.parse_device(text)


def test_device_rules() -> None:
    assert deviceargs.parse_device_rule("c 10:229 rwm") == deviceargs.DeviceRule("c", 10, 229, "rwm")
    assert deviceargs.parse_device_rule("b 8:* r") == deviceargs.DeviceRule("b", 8, None, "r")
    for text in ("", "c 10:229", "x 1:1 r", "c 1 r", "c 1:1 rx", "c  1:1 r", "c -1:1 r", "c 1:1:1 r"):
        with pytest.raises(UsageError, match="--device-cgroup-rule"):
            deviceargs.parse_device_rule(text)


def test_security_options() -> None:
    parse = security.parse_security
    assert parse(()) == security.SecurityOptions()
    assert parse(("no-new-privileges",)).no_new_privileges is True
    assert parse(("no-new-privileges=false",)).no_new_privileges is False
    assert parse(("no-new-privileges:true",)).no_new_privileges is True
    assert parse(("seccomp=unconfined",)).seccomp == "unconfined"
    assert parse(("label=disable",)).label_disable
    assert parse(("mask=/proc/a:/sys/b",)).mask == ("/proc/a", "/sys/b")
    assert parse(("unmask=/proc/acpi", "unmask=all")).unmask == ("ALL",)
    assert parse(("systempaths=unconfined",)).unmask == ("ALL",)


@pytest.mark.parametrize(
    "text",
    ["", "foo", "no-new-privileges=maybe", "seccomp", "seccomp=/no/such", "apparmor=", "label=x:y", "mask=etc",
     "mask=/proc/../etc", "systempaths=x"],
)  # fmt: skip
def test_wrong_security_options(text: str) -> None:
    with pytest.raises(UsageError, match="--security-opt"):
        security.parse_security((text,))


def test_capabilities() -> None:
    assert parse_name("--cap-add", "net_admin") == parse_name("--cap-add", "CAP_NET_ADMIN") == "NET_ADMIN"
    default = {f"CAP_{name}" for name in DEFAULT}
    assert len(default) == 14
    assert set(effective((), ())) == default
    assert set(effective(("NET_ADMIN",), ("CHOWN",))) == default - {"CAP_CHOWN"} | {"CAP_NET_ADMIN"}
    assert effective(("CHOWN",), ("ALL",)) == ("CAP_CHOWN",)
    assert set(effective(("ALL",), ("CHOWN",))) == {f"CAP_{name}" for name in NAMES} - {"CAP_CHOWN"}
    assert len(effective((), ("CHOWN",), privileged=True)) == len(NAMES)
    assert effective(("ALL",), (), available=1) == ("CAP_CHOWN",)
    with pytest.raises(HostError, match="SYS_ADMIN"):
        effective(("SYS_ADMIN",), (), available=1)
    with pytest.raises(UsageError) as caught:
        parse_name("--cap-add", "NET_ADMINN")
    assert "NET_ADMIN" in caught.value.hint


def test_signals_and_keys() -> None:
    assert [signals.parse_signal("-s", text) for text in ("TERM", "sigterm", "15", "SIGRTMIN+3")] == [15, 15, 15, 37]
    for text in ("", "0", "65", "-1", "FOO", "SIG", "15x"):
        with pytest.raises(UsageError):
            signals.parse_signal("-s", text)
    assert signals.parse_detach_keys("--detach-keys", "ctrl-p,ctrl-q") == b"\x10\x11"
    assert signals.parse_detach_keys("--detach-keys", "a,ctrl-@,ctrl-_") == b"a\x00\x1f"
    assert signals.parse_detach_keys("--detach-keys", "") == b""
    for text in ("ctrl-", "ctrl-pp", "ab", "ctrl-P", "a,,b", "ä"):
        with pytest.raises(UsageError):
            signals.parse_detach_keys("--detach-keys", text)


def test_network_names() -> None:
    assert netfiles.parse_add_host("db:192.0.2.7") == ("db", "192.0.2.7")
    assert netfiles.parse_add_host("db=[2001:db8::7]") == ("db", "2001:db8::7")
    for text in ("db", "db:", ":1.2.3.4", "db:1.2.3", "db:host-gateway", "d b:1.2.3.4", "db:1.2.3.4\n"):
        with pytest.raises(UsageError, match="--add-host"):
            netfiles.parse_add_host(text)
    for text in ("", "-a", "a..b", "a b", "x" * 65, "a/b"):
        with pytest.raises(UsageError):
            netfiles.check_hostname("--hostname", text)


def test_namespace_modes() -> None:
    assert namespaces.parse_mode("--pid", None) == "private"
    assert namespaces.parse_mode("--pid", "container:web") == "container:web"
    assert namespaces.parse_network("private") == "none"
    for text in ("", "hots", "container:", "ns:/x"):
        with pytest.raises(UsageError, match="--pid"):
            namespaces.parse_mode("--pid", text)
    for text in ("bridge", "Host", ""):
        with pytest.raises(UsageError, match="--network"):
            namespaces.parse_network(text)
    assert namespaces.parse_userns("100000:200000:65536") == "100000:200000:65536"
    for text in ("", "1:2", "1:2:0", "4294967295:0:2", "-1:0:1", "auto,", "1:2:3:4", "²:1:1"):
        with pytest.raises(UsageError, match="--userns"):
            namespaces.parse_userns(text)


def test_sysctls() -> None:
    assert namespaces.parse_sysctl("net/ipv4/ip_forward=1") == ("net.ipv4.ip_forward", "1")
    assert namespaces.parse_sysctl("kernel.sem=1 2 3 4") == ("kernel.sem", "1 2 3 4")
    for text in (
        "",
        "x",
        "=1",
        "vm.swappiness=1",
        "kernel.hostname=x",
        "net..x=1",
        "net.a=1\n2",
        "net.$(x)=1",
        "kernel.core_pattern=|x",
    ):
        with pytest.raises(UsageError, match="--sysctl"):
            namespaces.parse_sysctl(text)


def test_time_offsets() -> None:
    assert namespaces.parse_time_offsets(("1h",)) == (("monotonic", 3600 * 10**9), ("boottime", 3600 * 10**9))
    assert namespaces.parse_time_offsets(("boottime=-1s",)) == (("boottime", -(10**9)),)
    for text in ("realtime=1h", "boottime=", "=1h"):
        with pytest.raises(UsageError, match="--time-offset"):
            namespaces.parse_time_offsets((text,))


def test_env_files(tmp_path: Any) -> None:
    file = tmp_path / "env"
    file.write_bytes(b"\xef\xbb\xbf# comment\n\n  A=1\r\nB=two words \nC\nD\nA=2\nE=\n")
    found = envfile.parse_env((str(file),), ("B=3", "F", "G"), {"C": "c", "F": "f"})
    assert found == ("A=2", "B=3", "C=c", "E=", "F=f", "G")


@pytest.mark.parametrize(
    ("content", "line"),
    [(b"A=1\n=2\n", 2), (b"A B=1\n", 1), (b"\n\nA=\xff\n", 3), (b"A=\x00\n", 1), (b"export A=1\n", 1)],
)
def test_wrong_env_files_are_named_with_the_line(tmp_path: Any, content: bytes, line: int) -> None:
    file = tmp_path / "env"
    file.write_bytes(content)
    with pytest.raises(UsageError, match=f"--env-file: {file}:{line}: "):
        envfile.parse_env((str(file),), (), {})


@pytest.mark.parametrize(
    "call",
    [
        lambda: envfile.parse_env(("/no/such",), (), {}),
        lambda: envfile.parse_env(("/",), (), {}),
        lambda: envfile.parse_env((), ("=x",), {}),
        lambda: envfile.parse_env((), ("",), {}),
        lambda: envfile.parse_labels("--label", (), ("=x",)),
        lambda: envfile.parse_labels("--label", ("/no/such",), ()),
    ],
)
def test_wrong_variables_and_labels(call: Callable[[], object]) -> None:
    with pytest.raises(UsageError, match=r"--(env|label)"):
        call()
