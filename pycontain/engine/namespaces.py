"""``--pid``, ``--ipc``, ``--uts``, ``--cgroupns``, ``--network``, ``--userns``, ``--sysctl``, ``--time-offset``. [lean]

A mode is one word: ``private``, ``none``, ``host``, or ``container:NAME``.
"""

from __future__ import annotations

from pycontain.engine.suggest import closest
from pycontain.errors import UsageError
from pycontain.sizes import is_number, parse_duration_ns

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pycontain.engine.options import RunOptions

PRIVATE = "private"
HOST = "host"
NONE = "none"
CONTAINER = "container:"
USERNS_AUTO = "auto"
USERNS_STRICT = "auto,strict"
USERNS_KEEP_ID = "keep-id"
IDS_MAX = 2**32 - 1

# Source: namespaces(7); a sysctl outside these belongs to the whole machine
_IPC_WORDS = "msgmax msgmnb msgmni sem shmall shmmax shmmni shm_rmid_forced"
_IPC_SYSCTLS = frozenset(f"kernel.{word}" for word in _IPC_WORDS.split())
_UTS_SYSCTLS = frozenset(("kernel.hostname", "kernel.domainname"))
_SYSCTL_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-/")
_CLOCKS = ("monotonic", "boottime")


def parse_mode(option: str, text: str | None) -> str:
    """Return the mode of a namespace, private where nothing was given.

    Raises:
        UsageError: an unknown word, or ``container:`` without a name.
    """
    if text is None or text == PRIVATE or (option == "--ipc" and text == "shareable"):
        return PRIVATE
    if text == HOST:
        return HOST
    if text.startswith(CONTAINER) and len(text) > len(CONTAINER):
        return text
    guess = closest(text, (PRIVATE, HOST, CONTAINER))
    hint = f"did you mean {guess!r}?" if guess else "one of private, host, container:NAME"
    raise UsageError(f"{option}: {text!r} is unknown", hint=hint)


def parse_network(text: str | None) -> str:
    """Return the mode of the network: ``none`` (an own one with loopback up), host, or ``container:NAME``.

    Raises:
        UsageError: an unknown word, or a network that is not built yet.
    """
    if text in (None, NONE, PRIVATE):
        return NONE
    if text in ("bridge", "default", "pasta", "slirp4netns"):
        raise UsageError(f"--network: {text!r} is not there yet", hint="one of none, host, container:NAME")
    return parse_mode("--network", text)


def parse_userns(text: str | None) -> str:
    """Return auto, ``auto,strict``, host, keep-id or ``UID:GID:SIZE``; "" where nothing was given.

    Raises:
        UsageError: anything else.
    """
    if text is None:
        return ""
    if text in (USERNS_AUTO, USERNS_STRICT, HOST, USERNS_KEEP_ID):
        return text
    parts = text.split(":")
    if len(parts) == 3 and all(is_number(part) and len(part) <= 10 for part in parts):
        uid, gid, size = map(int, parts)
        if size < 1 or max(uid, gid) + size > IDS_MAX:
            raise UsageError(
                f"--userns: {text!r} goes beyond the last id {IDS_MAX - 1}", hint="for example 100000:100000:65536"
            )
        return text
    hint = "one of auto, auto,strict, host, keep-id, UID:GID:SIZE"
    raise UsageError(f"--userns: {text!r} is unknown", hint=hint)


def parse_sysctl(text: str) -> tuple[str, str]:
    """Return (key, value) of one ``--sysctl KEY=VALUE``; slashes in the key become dots.

    Raises:
        UsageError: the form is wrong, or the key is not one of a namespace.
    """
    key, equals, value = text.partition("=")
    hint = "for example --sysctl net.ipv4.ip_forward=1"
    if not equals or not key or not set(key) <= _SYSCTL_LETTERS or ".." in key.replace("/", "."):
        raise UsageError(f"--sysctl: {text!r} is not KEY=VALUE", hint=hint)
    if "\n" in value or "\0" in value:
        raise UsageError(f"--sysctl: {key}: the value holds a line end or NUL byte", hint=hint)
    key = key.replace("/", ".")
    if key in _UTS_SYSCTLS:
        raise UsageError(f"--sysctl: {key}: has an option of its own", hint="--hostname or --domainname")
    if key not in _IPC_SYSCTLS and not key.startswith(("net.", "fs.mqueue.")):
        raise UsageError(
            f"--sysctl: {key}: belongs to the whole machine, not to a container",
            hint="keys below net. and fs.mqueue., kernel.sem, kernel.msg* and kernel.shm* are a container's own",
        )
    return key, value


def parse_time_offsets(texts: Iterable[str]) -> tuple[tuple[str, int], ...]:
    """Return (clock, nanoseconds) from ``[CLOCK=]DURATION``; without a clock it is for both.

    Raises:
        UsageError: an unknown clock or no duration.
    """
    offsets: dict[str, int] = {}
    for text in texts:
        clock, equals, duration = text.rpartition("=")
        if equals and clock not in _CLOCKS:
            raise UsageError(f"--time-offset: clock {clock!r} is unknown", hint="one of monotonic, boottime")
        value = parse_duration_ns("--time-offset", duration)
        for name in (clock,) if equals else _CLOCKS:
            offsets[name] = value
    return tuple(offsets.items())


def check_together(options: RunOptions) -> None:
    """Refuse what another namespace's owner decides.

    Raises:
        UsageError: names both options.
    """
    joined = joined_modes(options)
    if joined and options.userns:
        raise UsageError(
            f"--userns: {options.userns} contradicts {joined[0]}",
            hint="who joins a container's namespace joins its user namespace too: leave --userns out",
        )
    for value, name in ((options.hostname, "--hostname"), (options.domainname, "--domainname")):
        if value and options.uts != PRIVATE:
            raise UsageError(f"{name}: contradicts --uts {options.uts}", hint="the name is that of the other side")
    if options.network.startswith(CONTAINER):
        for given, name in ((options.dns, "--dns"), (options.add_hosts, "--add-host")):
            if given:
                raise UsageError(f"{name}: contradicts --network {options.network}", hint="give it to that container")
    for key in options.sysctls:
        mode, name = (options.network, "--network") if key.startswith("net.") else (options.ipc, "--ipc")
        if mode not in (PRIVATE, NONE):
            raise UsageError(f"--sysctl: {key}: contradicts {name} {mode}", hint="it would change the other side")


def joined_modes(options: RunOptions) -> tuple[str, ...]:
    """Return the modes that name another container, each once, in a fixed order."""
    modes = (options.pid, options.ipc, options.uts, options.cgroupns, options.network)
    return tuple(dict.fromkeys(mode for mode in modes if mode.startswith(CONTAINER)))


def owners(options: RunOptions, ids: Mapping[str, str]) -> dict[str, str]:
    """Return whose namespaces are joined, by type, for a later start; ``ids`` are those of containers by mode."""
    modes = (
        ("pid", options.pid),
        ("ipc", options.ipc),
        ("uts", options.uts),
        ("network", options.network),
        ("cgroup", options.cgroupns),
    )
    found = {kind: ids[mode] for kind, mode in modes if mode.startswith(CONTAINER)}
    if found:
        found["user"] = next(iter(ids.values()))
    return found
