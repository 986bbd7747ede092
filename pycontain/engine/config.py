"""The configuration that a container was made from: config.json in its state directory. [lean]"""

from __future__ import annotations

from pycontain import lean_json
from pycontain.errors import PycontainError, StoreError
from pycontain.spec.decode import decode, encode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pycontain.runtime.state import Entry
    from pycontain.spec.runtime import Spec

NAME = "config.json"


def load(entry: Entry) -> Spec:
    """Return the container's configuration.

    Raises:
        StoreError: the file is missing or damaged.
    """
    path = f"{entry.directory}/{NAME}"
    try:
        with open(path, encoding="utf-8") as file:
            spec, _warnings = decode(lean_json.loads(file.read(), source=path, surrogates=True), source=path)
    except (OSError, PycontainError) as error:
        raise StoreError(f"{path}: {error}", hint="remove the container and run it anew") from error
    return spec


def save(entry: Entry, spec: Spec) -> None:
    """Write the container's configuration.

    Raises:
        StoreError: it cannot be written.
    """
    entry.write_file(NAME, lean_json.dumps(encode(spec), surrogates=True))
