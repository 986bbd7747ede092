"""From the value of a JSON document to records and back; driven by :mod:`pycontain.spec.tables`.

[lean]

Decoding judges each value by itself: its type, its range, the word list it is from. What holds between values is
:func:`pycontain.spec.rules.validation.validate`.
"""

from __future__ import annotations

from pycontain.errors import SpecError
from pycontain.spec import tables

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pycontain.spec.kinds import Table
    from pycontain.spec.process import Process
    from pycontain.spec.resources import LinuxResources
    from pycontain.spec.runtime import Spec
    from pycontain.spec.seccomp import LinuxSeccomp


def decode(document: object, *, source: str = "config.json") -> tuple[Spec, tuple[str, ...]]:
    """Return the configuration and one warning per property that nobody knows here.

    Raises:
        SpecError: a property is missing or of the wrong type; ``path`` is its JSON path, ``source`` names the document.
    """
    return _decode(tables.SPEC, document, source)


def decode_process(document: object, *, source: str = "process.json") -> tuple[Process, tuple[str, ...]]:
    """Return the process of an ``exec --process`` document, and warnings; as :func:`decode`."""
    return _decode(tables.PROCESS, document, source)


def decode_resources(document: object, *, source: str = "resources.json") -> tuple[LinuxResources, tuple[str, ...]]:
    """Return the resources of an ``update --resources`` document, and warnings; as :func:`decode`."""
    return _decode(tables.RESOURCES, document, source)


def decode_seccomp(document: object, *, source: str = "seccomp.json") -> tuple[LinuxSeccomp, tuple[str, ...]]:
    """Return a seccomp profile in the specification's form, and warnings; as :func:`decode`."""
    return _decode(tables.SECCOMP, document, source)


def encode(spec: Spec) -> dict[str, object]:
    """Return config.json as plain dicts and lists; ``decode(encode(spec))`` is ``spec`` again.

    What equals its default is left out.
    """
    return tables.SPEC.encode(spec)


def encode_process(process: Process) -> dict[str, object]:
    """Return a process as :func:`decode_process` reads it."""
    return tables.PROCESS.encode(process)


def encode_resources(resources: LinuxResources) -> dict[str, object]:
    """Return resources as :func:`decode_resources` reads them."""
    return tables.RESOURCES.encode(resources)


def _decode(table: Table, document: object, source: str) -> tuple[Any, tuple[str, ...]]:
    warnings: list[str] = []
    try:
        return table.decode(document, None, warnings), tuple(warnings)
    except SpecError as error:
        raise SpecError(error.path, error.rule, hint=error.hint, source=source) from None
