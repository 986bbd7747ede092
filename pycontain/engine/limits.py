"""What a container may use: ``-m``, ``--cpus``, ``--ulimit``, ``--device-read-bps`` and their like. [lean]"""

from __future__ import annotations

from pycontain.engine.suggest import closest
from pycontain.errors import UsageError
from pycontain.record import Record
from pycontain.sizes import (
    CPU_PERIOD_US,
    MAX_INT64,
    parse_cpus,
    parse_integer,
    parse_size,
    parse_size_or_unlimited,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

# Source: getrlimit(2); docker's names are these in lower case without RLIMIT_
_RLIMIT_WORDS = "as core cpu data fsize locks memlock msgqueue nice nofile nproc rss rtprio rttime sigpending stack"
RLIMITS = tuple(_RLIMIT_WORDS.split())
RLIM_INFINITY = 2**64 - 1


class Ulimit(Record):
    """``name`` is lower case without prefix; 2**64-1 is unlimited."""

    name: str
    soft: int
    hard: int


class Throttle(Record):
    """A rate for one block device, by its host path: bytes or operations per second."""

    path: str
    rate: int


class Limits(Record):
    """Resource limits; None is "not given". Bytes, microseconds and plain weights.

    ``memory_swap`` is memory and swap together (-1: swap without limit), as in docker. ``cpu_weight`` is v2's scale
    of 1 to 10000, ``cpu_shares`` v1's of 2 to 262144; at most one is given.
    """

    memory: int | None = None
    memory_swap: int | None = None
    memory_reservation: int | None = None
    cpu_quota_us: int | None = None
    cpu_period_us: int | None = None
    cpu_shares: int | None = None
    cpu_weight: int | None = None
    cpuset_cpus: str = ""
    cpuset_mems: str = ""
    pids: int | None = None
    blkio_weight: int | None = None
    read_bps: tuple[Throttle, ...] = ()
    write_bps: tuple[Throttle, ...] = ()
    read_iops: tuple[Throttle, ...] = ()
    write_iops: tuple[Throttle, ...] = ()


_WORDS = (
    "memory memory_swap memory_reservation cpus cpu_quota cpu_period cpu_shares cpu_weight cpuset_cpus cpuset_mems"
    " pids_limit blkio_weight"
)


def parse_limit_options(raw: Mapping[str, Any]) -> Limits:
    """Return the limits from texts keyed by option in snake_case; rates are tuples of texts.

    Raises:
        UsageError: a value is wrong, or two contradict each other.
    """
    return parse_limits({name.replace("_", "-"): raw.get(name) for name in _WORDS.split()}).replace(
        read_bps=parse_throttles("--device-read-bps", raw.get("device_read_bps") or (), sizes=True),
        write_bps=parse_throttles("--device-write-bps", raw.get("device_write_bps") or (), sizes=True),
        read_iops=parse_throttles("--device-read-iops", raw.get("device_read_iops") or (), sizes=False),
        write_iops=parse_throttles("--device-write-iops", raw.get("device_write_iops") or (), sizes=False),
    )


def parse_limits(raw: Mapping[str, str | None]) -> Limits:
    """Return the limits from the options' texts; keys are the options' names without dashes before them.

    Raises:
        UsageError: a value is wrong, or two contradict each other.
    """

    def given(name: str) -> str | None:
        return raw.get(name)

    def integer(name: str, least: int, most: int) -> int | None:
        text = given(name)
        return None if text is None else parse_integer(f"--{name}", text, least, most)

    memory, swap, reservation = given("memory"), given("memory-swap"), given("memory-reservation")
    quota, period = integer("cpu-quota", -1, MAX_INT64), integer("cpu-period", 1000, 1_000_000)
    cpus = given("cpus")
    if cpus is not None and not cpus.strip("0."):
        cpus = None
    if cpus is not None:
        if quota is not None or period is not None:
            raise UsageError("--cpus: contradicts --cpu-quota and --cpu-period", hint="give --cpus alone")
        quota, period = parse_cpus("--cpus", cpus), CPU_PERIOD_US
    if quota is not None and 0 < quota < 1000:
        raise UsageError(f"--cpu-quota: {quota} is too little", hint="the least is 1000 microseconds (1 ms)")
    limits = Limits(
        memory=None if memory is None else parse_size("--memory", memory) or None,
        memory_swap=None if swap is None else parse_size_or_unlimited("--memory-swap", swap) or None,
        memory_reservation=None if reservation is None else parse_size("--memory-reservation", reservation) or None,
        cpu_quota_us=None if quota is not None and quota <= 0 else quota,
        cpu_period_us=period,
        # 0 is docker's "default" for shares
        cpu_shares=integer("cpu-shares", 0, 262144) or None,
        cpu_weight=integer("cpu-weight", 1, 10000),
        cpuset_cpus=parse_cpu_list("--cpuset-cpus", given("cpuset-cpus") or ""),
        cpuset_mems=parse_cpu_list("--cpuset-mems", given("cpuset-mems") or ""),
        pids=integer("pids-limit", -1, 4194304),
        blkio_weight=integer("blkio-weight", 0, 1000) or None,
    )
    _check_together(limits)
    return limits


def _check_together(limits: Limits) -> None:
    """Refuse limits that cannot hold together.

    Raises:
        UsageError: names both.
    """
    memory, swap, reservation = limits.memory, limits.memory_swap, limits.memory_reservation
    if limits.cpu_shares is not None and limits.cpu_weight is not None:
        raise UsageError("--cpu-shares: contradicts --cpu-weight", hint="they are two scales of one thing: give one")
    if limits.cpu_shares == 1:
        raise UsageError("--cpu-shares: 1 is out of range", hint="a number from 2 to 262144")
    if limits.blkio_weight is not None and limits.blkio_weight < 10:
        raise UsageError(f"--blkio-weight: {limits.blkio_weight} is out of range", hint="a number from 10 to 1000")
    if swap is not None and memory is None:
        raise UsageError(
            "--memory-swap: needs --memory", hint="it is memory and swap together: -m 64m --memory-swap 96m"
        )
    if swap is not None and memory is not None and 0 <= swap < memory:
        raise UsageError("--memory-swap: is less than --memory", hint="it is memory and swap together; -1 for no limit")
    if reservation is not None and memory is not None and reservation > memory:
        raise UsageError("--memory-reservation: is more than --memory", hint="a reservation lies below the limit")


def parse_cpu_list(option: str, text: str) -> str:
    """Return a list such as ``0-3,7`` unchanged.

    Raises:
        UsageError: not such a list. Source: cpuset(7) "List format"
    """
    for part in text.split(",") if text else ():
        first, dash, last = part.partition("-")
        good = first.isascii() and first.isdigit() and len(first) < 6
        if good and dash:
            good = last.isascii() and last.isdigit() and len(last) < 6 and int(first) <= int(last)
        if not good:
            raise UsageError(f"{option}: {text!r} is not a list of numbers", hint="for example 0-3,7")
    return text


def parse_ulimit(text: str) -> Ulimit:
    """Return one ``--ulimit NAME=SOFT[:HARD]``; -1 and "unlimited" are no limit, hard is soft where it is left out.

    Raises:
        UsageError: an unknown name, a value that is no number, or soft above hard.
    """
    name, equals, values = text.partition("=")
    soft_text, colon, hard_text = values.partition(":")
    hint = "the form is NAME=SOFT[:HARD], for example nofile=1024:4096"
    if not equals or not soft_text or (colon and not hard_text):
        raise UsageError(f"--ulimit: {text!r} is not a limit", hint=hint)
    if name not in RLIMITS:
        guess = closest(name.lower().removeprefix("rlimit_"), RLIMITS)
        hint = f"did you mean {guess!r}?" if guess else "names are " + ", ".join(RLIMITS)
        raise UsageError(f"--ulimit: {name!r} is not the name of a limit", hint=hint)
    soft = _rlimit_value(text, soft_text)
    hard = _rlimit_value(text, hard_text) if colon else soft
    if name == "cpu" and 0 in (soft, hard):
        raise UsageError(f"--ulimit: {text!r}: the kernel would kill it at once", hint="the least is 1 second: cpu=1")
    if soft > hard:
        raise UsageError(f"--ulimit: {text!r}: the soft limit is above the hard limit", hint=hint)
    return Ulimit(name, soft, hard)


def _rlimit_value(text: str, value: str) -> int:
    if value in ("-1", "unlimited"):
        return RLIM_INFINITY
    if not (value.isascii() and value.isdigit() and len(value) < 20 and int(value) <= MAX_INT64):
        raise UsageError(f"--ulimit: {text!r}: {value!r} is not a number", hint="-1 or 'unlimited' is no limit")
    return int(value)


def parse_throttles(option: str, texts: Iterable[str], *, sizes: bool) -> tuple[Throttle, ...]:
    """Return rates from ``PATH:RATE``; ``sizes`` allows units (bytes per second), otherwise it is a plain count.

    Raises:
        UsageError: no absolute path under /dev, or no rate.
    """
    found: dict[str, Throttle] = {}
    for text in texts:
        path, colon, rate = text.rpartition(":")
        hint = f"for example {option} /dev/sda:{'1m' if sizes else '1000'}"
        if not colon or not path.startswith("/dev/") or "\0" in path:
            raise UsageError(f"{option}: {text!r} is not /dev/NAME:RATE", hint=hint)
        value = parse_size(option, rate) if sizes else parse_integer(option, rate, 0, MAX_INT64)
        found[path] = Throttle(path, value)
    return tuple(found.values())
