"""Which capabilities a container gets: docker's fourteen, changed by ``--cap-add`` and ``--cap-drop``. [lean]"""

from __future__ import annotations

from pycontain.engine.suggest import closest
from pycontain.errors import HostError, UsageError
from pycontain.plan.capabilities import NUMBERS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

# In the order of their numbers
NAMES = tuple(name.removeprefix("CAP_") for name in NUMBERS)
# Source: moby/moby daemon/pkg/oci/caps/defaults.go
_DEFAULT_WORDS = (
    "CHOWN DAC_OVERRIDE FSETID FOWNER MKNOD NET_RAW SETGID SETUID SETFCAP SETPCAP NET_BIND_SERVICE SYS_CHROOT KILL"
    " AUDIT_WRITE"
)
DEFAULT = tuple(_DEFAULT_WORDS.split())
ALL = "ALL"


def parse_name(option: str, text: str) -> str:
    """Return a capability's name without prefix, or :data:`ALL`; any case, with or without ``CAP_``.

    Raises:
        UsageError: no such capability.
    """
    name = text.upper().removeprefix("CAP_")
    if name != ALL and name not in NAMES:
        guess = closest(name, NAMES)
        hint = f"did you mean {guess}?" if guess else "names are those of capabilities(7), for example NET_ADMIN"
        raise UsageError(f"{option}: {text!r} is not a capability", hint=hint)
    return name


def effective(
    add: Iterable[str], drop: Iterable[str], *, privileged: bool = False, available: int = -1
) -> tuple[str, ...]:
    """Return names with ``CAP_`` in the order of their numbers.

    ``available`` is a mask of those that can be given: "all" means all of these, and what is docker's default is left
    out where it is not in it.

    ``--cap-drop ALL`` starts from nothing and ``--cap-add ALL`` from everything; then the single names count, as in
    docker. ``privileged`` gives every one, whatever else was said.

    Raises:
        HostError: a single one that was asked for is not available.
    """
    added, dropped = set(add), set(drop)
    if privileged:
        chosen = set(NAMES)
    elif ALL in added:
        chosen = set(NAMES) - dropped
    elif ALL in dropped:
        chosen = added
    else:
        chosen = (set(DEFAULT) - dropped) | added
    for name in NAMES:
        if name in added and name in chosen and not available >> NUMBERS[f"CAP_{name}"] & 1:
            raise HostError(f"--cap-add {name}: this process does not have it", hint="--userns auto gives it inside")
    return tuple(f"CAP_{name}" for name in NAMES if name in chosen and available >> NUMBERS[f"CAP_{name}"] & 1)
