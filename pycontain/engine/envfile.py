"""Environment and label files, and ``-e``: docker's rules, with errors that name file and line. [lean]"""

from __future__ import annotations

from pycontain.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_SPACE = " \t\v\f\r"
_MAX_BYTES = 8 << 20


def read_lines(option: str, path: str) -> list[tuple[int, str]]:
    """Return (line number, text) of the lines that are neither empty nor comments, cut of leading white space.

    Raises:
        UsageError: the file cannot be read, is too large, or a line is not UTF-8.
    """
    try:
        with open(path, "rb") as file:
            data = file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise UsageError(f"{option}: {path}: {(error.strerror or str(error)).lower()}") from error
    if len(data) > _MAX_BYTES:
        raise UsageError(f"{option}: {path}: larger than {_MAX_BYTES >> 20} MiB")
    found = []
    for number, raw in enumerate(data.removeprefix(b"\xef\xbb\xbf").split(b"\n"), 1):
        try:
            line = raw.removesuffix(b"\r").decode("utf-8").lstrip(_SPACE)
        except UnicodeDecodeError:
            raise UsageError(f"{option}: {path}:{number}: not UTF-8") from None
        if "\0" in line:
            raise UsageError(f"{option}: {path}:{number}: holds a NUL byte")
        if line and not line.startswith("#"):
            found.append((number, line))
    return found


def parse_env(files: Iterable[str], values: Iterable[str], environ: Mapping[str, str]) -> tuple[str, ...]:
    """Return ``K=V`` in order, files before ``-e``; a later one of the same name replaces the earlier.

    A name alone takes the caller's value; where the caller has none, the entry is the name alone: "remove the
    default". In a file such a name is left out.

    Raises:
        UsageError: a file or an entry is wrong.
    """
    entries: dict[str, str] = {}
    for path in files:
        for number, line in read_lines("--env-file", path):
            name, equals, value = line.partition("=")
            # No value and no whole line in a message: this is where people keep secrets.
            hint = "lines are NAME=value or NAME, without quotes or 'export'"
            if not name:
                raise UsageError(f"--env-file: {path}:{number}: no variable name before '='", hint=hint)
            if any(char in name for char in _SPACE):
                raise UsageError(f"--env-file: {path}:{number}: the variable's name contains white space", hint=hint)
            if equals or name in environ:
                entries[name] = f"{name}={value if equals else environ[name]}"
    for text in values:
        name, equals, value = text.partition("=")
        if not name:
            raise UsageError("--env: no variable name before '='", hint="for example -e LANG=C.UTF-8")
        if "\0" in text:
            raise UsageError(f"--env: {name!r} holds a NUL byte")
        if equals:
            entries[name] = text
        else:
            entries[name] = f"{name}={environ[name]}" if name in environ else name
    return tuple(entries.values())


def parse_labels(option: str, files: Iterable[str], values: Iterable[str]) -> dict[str, str]:
    """Return labels or annotations by key, files first; a key without value has an empty one.

    Raises:
        UsageError: a file cannot be read, or an entry has no key.
    """
    labels: dict[str, str] = {}
    for path in files:
        for number, line in read_lines(f"{option}-file", path):
            key, _, value = line.partition("=")
            if not key.rstrip(_SPACE) or any(char in key for char in _SPACE):
                raise UsageError(f"{option}-file: {path}:{number}: key {key!r} is empty or contains white space")
            labels[key] = value
    for text in values:
        key, _, value = text.partition("=")
        if not key:
            raise UsageError(f"{option}: {text!r} has no key", hint=f"for example {option} team=blue")
        labels[key] = value
    return labels
