"""What containers there are and how they are: state, list. [lean]"""

from __future__ import annotations

import os
import time

from pycontain import lean_json
from pycontain.errors import PycontainError, StoreError, UsageError
from pycontain.oci.store import STOPPED, Container, check_id
from pycontain.runtime import processes
from pycontain.spec.state import OCI_VERSION_MAX

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pycontain.oci.invocation import Invocation
    from pycontain.oci.store import State
    from pycontain.oci.words import Told

COLUMNS = ("ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER")
FORMS = ("table", "json")


def state(invocation: Invocation, told: Told) -> int:
    """Print the state of a container."""
    container = invocation.store.find(told.arguments[0])
    document = describe(container, container.load())
    write(lean_json.dumps(document, indent=2, surrogates=True) + "\n")
    return 0


def describe(container: Container, saved: State, boot_id: str = "") -> dict[str, Any]:
    """Return the state as JSON has it; ``boot_id`` as in Container.status. Source: runtime.md#state, what runc adds"""
    status = container.status(saved, boot_id)
    document = {
        "ociVersion": OCI_VERSION_MAX,
        "id": saved.id,
        "pid": 0 if status == STOPPED else saved.pid,
        "status": status,
        "bundle": saved.bundle,
        "rootfs": saved.rootfs,
        "created": timestamp(saved.created_ns),
        "owner": "",
    }
    if saved.annotations:
        document["annotations"] = dict(saved.annotations)
    return document


def timestamp(moment_ns: int) -> str:
    """Return a moment as RFC 3339 with nanoseconds."""
    seconds, rest = divmod(moment_ns, 1_000_000_000)
    fraction = f".{rest:09d}".rstrip("0").rstrip(".")
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + fraction + "Z"


def list_containers(invocation: Invocation, told: Told) -> int:
    """Print the containers of the root directory."""
    form = told.text("format", "table")
    if form not in FORMS:
        raise UsageError(f"invalid format option: {form}")
    ids = invocation.store.ids()
    if told.flag("quiet"):
        write("".join(f"{name}\n" for name in ids))
        return 0
    rows = []
    boot_id = processes.boot_id()
    owners: dict[int, str] = {}
    for name in ids:
        try:
            container = Container(invocation.store.root, check_id(name))
            saved = container.load()
            row = describe(container, saved, boot_id)
            if saved.owner not in owners:
                owners[saved.owner] = _name_of(saved.owner)
            row["owner"] = owners[saved.owner]
            rows.append(row)
        except StoreError as error:
            invocation.log.warning(f"{name}: {error}")
        except PycontainError:
            continue  # removed meanwhile
    if form == "json":
        write(lean_json.dumps(rows or None, surrogates=True) + "\n")
        return 0
    keys = [column.lower() for column in COLUMNS]
    table = [COLUMNS, *(tuple(str(row[key]) for key in keys) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = ["   ".join(map(str.ljust, line, widths)) for line in table]
    write("\n".join([lines[0].rstrip(), *lines[1:], ""]))
    return 0


def _name_of(uid: int) -> str:
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"#{uid}"


def write(text: str) -> None:
    """Write text to standard output."""
    data = text.encode("utf-8", "surrogateescape")
    while data:
        data = data[os.write(1, data) :]
