"""The text of /etc/hosts, /etc/resolv.conf and /etc/hostname in a container. [lean]"""

from __future__ import annotations

import os

from pycontain.engine.suggest import closest
from pycontain.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

_HOSTS = """\
127.0.0.1\tlocalhost
::1\tlocalhost ip6-localhost ip6-loopback
fe00::\tip6-localnet
ff00::\tip6-mcastprefix
ff02::1\tip6-allnodes
ff02::2\tip6-allrouters
"""
_NO_NETWORK = """\
# pycontain: this container runs with --network none (the default): it has the loopback interface only,
# so no name outside /etc/hosts resolves. --network host shares the host's network.
"""
_ADDRESS_LETTERS = frozenset("0123456789abcdefABCDEF.:")
_LABEL = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_")


def parse_address(option: str, text: str) -> str:
    """Return an IPv4 or IPv6 address without brackets.

    Raises:
        UsageError: neither.
    """
    address = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    if not address or not all(char in _ADDRESS_LETTERS for char in address) or not _is_address(address):
        hint = "for example 192.0.2.7 or 2001:db8::7"
        if closest(address, ("host-gateway",)):
            hint = "host-gateway needs a bridge network, which there is not yet"
        raise UsageError(f"{option}: {text!r} is not an IP address", hint=hint)
    return address


def _is_address(text: str) -> bool:
    """Tell by inet_pton(3), imported here because few runs need it."""
    import _socket

    try:
        _socket.inet_pton(_socket.AF_INET6 if ":" in text else _socket.AF_INET, text)
    except OSError:
        return False
    return True


def parse_add_host(text: str) -> tuple[str, str]:
    """Return (name, address) of one ``--add-host NAME:ADDRESS`` or ``NAME=ADDRESS``.

    Raises:
        UsageError: the form, the name or the address is wrong.
    """
    cut = min((text.find(mark) for mark in "=:" if mark in text), default=-1)
    name = text[:cut] if cut > 0 else ""
    if not name:
        raise UsageError(f"--add-host: {text!r} is not NAME:ADDRESS", hint="for example --add-host db:192.0.2.7")
    check_hostname("--add-host", name)
    return name, parse_address("--add-host", text[cut + 1 :])


def check_hostname(option: str, text: str) -> str:
    """Return a host name. Source: gethostname(2): at most 64 bytes; hostname(7) for the letters.

    Raises:
        UsageError: empty, too long, or a character that no host name has.
    """
    labels = text.removesuffix(".").split(".")
    if len(text) > 64:
        raise UsageError(f"{option}: {text[:16] + '…'!r} is longer than 64 characters")
    if not all(label and set(label) <= _LABEL and label[0] != "-" for label in labels):
        raise UsageError(f"{option}: {text!r} is not a host name", hint="letters, digits, '-' and '.'")
    return text


def hosts(hostname: str, domainname: str, added: Iterable[tuple[str, str]]) -> str:
    """Return /etc/hosts of a container with a network of its own: its own name resolves to loopback."""
    names = f"{hostname}.{domainname} {hostname}" if domainname else hostname
    if "." in hostname and not domainname:
        names = f"{hostname} {hostname.partition('.')[0]}"
    lines = [_HOSTS, f"127.0.1.1\t{names}\n"]
    lines += [f"{address}\t{name}\n" for name, address in added]
    return "".join(lines)


def host_hosts(text: str, added: Iterable[tuple[str, str]]) -> str:
    """Return the host's own /etc/hosts with the added names, for a container in the host's network."""
    ending = "" if text.endswith("\n") or not text else "\n"
    return text + ending + "".join(f"{address}\t{name}\n" for name, address in added)


def resolv_conf(host_text: str, dns: tuple[str, ...], *, host_network: bool) -> str:
    """Return /etc/resolv.conf: the host's, with the name servers replaced where ``dns`` has some.

    Without a network the host's servers are left out and a comment says why nothing resolves.
    """
    kept = [line for line in host_text.splitlines() if line.split()[:1] in (["search"], ["options"], ["domain"])]
    if not host_network:
        kept = []
    elif not dns:
        return host_text
    lines = [f"nameserver {address}" for address in dns]
    return ("" if host_network else _NO_NETWORK) + "".join(f"{line}\n" for line in (*kept, *lines))


def read_host_file(path: str) -> str:
    """Return a small text file of the host, "" when it is missing or not readable."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return ""
    try:
        return os.read(fd, 1 << 20).decode("utf-8", "replace")
    except OSError:
        return ""
    finally:
        os.close(fd)
