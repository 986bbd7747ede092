"""Reads a bundle: its configuration, decoded, checked, and with every path absolute. [lean]"""

from __future__ import annotations

import os

from pycontain import lean_json
from pycontain.errors import SpecError, UsageError
from pycontain.record import Record
from pycontain.spec.decode import decode
from pycontain.spec.mount_options import parse_options
from pycontain.spec.process import Process
from pycontain.spec.rules.validation import validate

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pycontain.spec.mounts import Mount
    from pycontain.spec.runtime import Spec

NAME = "config.json"
#: What waits in a container that has no process.
_NO_PROCESS = Process(cwd="/", no_new_privileges=True)


class Bundle(Record):
    """A bundle's directory, its configuration as bytes and as a record, and lines about what was ignored."""

    directory: str
    text: bytes
    spec: Spec
    warnings: tuple[str, ...] = ()


def load(directory: str, *, starts: bool = True) -> Bundle:
    """Return the bundle in a directory, "" for the working directory.

    A container that this call does not start may be made without a process (config.md#process). What waits in it has
    no privileges and no program, :func:`pycontain.oci.verbs.start` says so.

    Raises:
        UsageError: there is none.
        SpecError: its configuration is wrong.
    """
    bundle = os.path.realpath(directory or ".")
    try:
        with open(f"{bundle}/{NAME}", "rb") as file:
            text = file.read(lean_json.MAX_BYTES + 1)
    except FileNotFoundError:
        raise UsageError(f"JSON specification file {bundle}/{NAME} not found") from None
    except OSError as error:
        raise UsageError(f"open {bundle}/{NAME}: {(error.strerror or '').lower()}") from error
    spec, warnings = read(text)
    if spec.process is None:
        if starts:
            raise SpecError("process", "is missing: there is no program to start", source=NAME)
        spec = spec.replace(process=_NO_PROCESS)
    return Bundle(bundle, text, _absolute(spec, bundle), warnings)


def read(text: bytes) -> tuple[Spec, tuple[str, ...]]:
    """Return the configuration in a file's bytes, and warnings.

    Raises:
        SpecError: it is wrong.
    """
    spec, ignored = decode(lean_json.loads(text, source=NAME), source=NAME)
    return spec, (*ignored, *validate(spec, source=NAME))


def saved(directory: str) -> Spec:
    """Return the configuration that the container in ``directory`` was made from; its paths are as they were given."""
    with open(f"{directory}/{NAME}", "rb") as file:
        return read(file.read())[0]


def _absolute(spec: Spec, bundle: str) -> Spec:
    """Return the configuration with the paths of root and mounts made absolute."""
    root = os.path.realpath(os.path.join(bundle, spec.root.path))
    if not os.path.isdir(root):
        raise SpecError("root.path", f"{root}: no such directory", source=NAME)
    mounts = tuple(_absolute_mount(mount, bundle) for mount in spec.mounts)
    return spec.replace(root=spec.root.replace(path=root), mounts=mounts)


def _absolute_mount(mount: Mount, bundle: str) -> Mount:
    source = mount.source
    # config.md#mounts: of a bind mount, relative to the bundle
    if source is not None and not source.startswith("/") and parse_options(mount.options, "").bind:
        source = os.path.join(bundle, source)
    destination = mount.destination
    if source is mount.source and destination.startswith("/"):
        return mount
    return mount.replace(source=source, destination=destination if destination.startswith("/") else f"/{destination}")
