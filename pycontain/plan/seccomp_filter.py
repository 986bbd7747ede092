"""A compiled filter as data. [lean]

Apart from the compiler, which whoever finds the filter in a cache need not load.
"""

from __future__ import annotations

from pycontain.record import Record

# Goes up whenever the same profile, or the same conditions of the default one, give another program: caches ask for it.
FILTER_VERSION = 1


class CompiledFilter(Record):
    """``program`` is an array of struct sock_filter, ``flags`` are those of seccomp(2).

    ``unresolved`` names the calls that none of the profile's architectures has; ``seccomp_tables.unknown_syscalls``
    tells which of them no architecture has.
    """

    program: bytes
    flags: int
    unresolved: tuple[str, ...]
