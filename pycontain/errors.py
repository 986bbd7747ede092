"""The whole exception tree.

::

    PycontainError            .hint  .exit_code
    ├── UsageError            an option or argument is wrong             125
    ├── SpecError             .path  .rule: a value of a document is wrong
    ├── HostError             .requirement: this host cannot do what was asked
    ├── LifecycleError
    │   ├── NotFound
    │   ├── Exists
    │   └── WrongState
    ├── StageError            .stage .op .spec_path .call .errno: a step of a start failed
    ├── ExecError             the program cannot be executed             126 / 127
    ├── HookError             a hook of the configuration has failed
    └── StoreError            state, journal, log or data on disk cannot be used

Messages are lower case without a full stop: operands, then the cause. The hint is a separate field and names a
command or an option where there is one. Errors cross processes as lists of strings: :func:`to_fields`,
:func:`from_fields`.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import ClassVar


class PycontainError(Exception):
    """Base of every error that a user may see; ``str()`` is one line without the hint.

    ``earlier`` are the failures before this one, where a command goes on with other things.
    """

    exit_code: int = 125
    earlier: tuple[PycontainError, ...] = ()
    kind: ClassVar[str] = "error"

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint

    def to_fields(self) -> list[str]:
        """Return ``[kind, message, hint, …]`` for a channel or a log line; :func:`from_fields` reverses it."""
        return [self.kind, str(self), self.hint]


class UsageError(PycontainError):
    """An option or argument is wrong: names it and says what would be right."""

    kind = "usage"


class SpecError(PycontainError):
    """A value in a document is wrong. ``path`` is its JSON path, ``rule`` says what holds there."""

    kind = "spec"

    def __init__(self, path: str, rule: str, *, hint: str = "", source: str = "") -> None:
        super().__init__(": ".join(part for part in (source, path, rule) if part), hint=hint)
        self.path = path
        self.rule = rule
        self.source = source

    def to_fields(self) -> list[str]:
        return [self.kind, self.path, self.hint, self.rule, self.source]


class HostError(PycontainError):
    """This host lacks something that was asked for; the hint says how to get it."""

    kind = "host"

    def __init__(self, message: str, *, requirement: str = "", hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.requirement = requirement

    def to_fields(self) -> list[str]:
        return [self.kind, str(self), self.hint, self.requirement]


class LifecycleError(PycontainError):
    """The container is not one that this verb can work on."""

    kind = "lifecycle"


class NotFound(LifecycleError):
    """No such container, volume or other named thing."""

    kind = "not-found"


class Exists(LifecycleError):
    """The name or id is taken."""

    kind = "exists"


class WrongState(LifecycleError):
    """The container is in a state in which the verb makes no sense."""

    kind = "wrong-state"


class StageError(PycontainError):
    """One operation of a start failed: names stage, op, the line of the config that asked for it, and the cause."""

    kind = "stage"

    def __init__(
        self, message: str, *, hint: str = "", stage: str = "", op: str = "", spec_path: str = "", errno: int = 0
    ) -> None:
        super().__init__(message, hint=hint)
        self.stage = stage
        self.op = op
        self.spec_path = spec_path
        self.errno = errno

    def to_fields(self) -> list[str]:
        return [self.kind, str(self), self.hint, self.stage, self.op, self.spec_path, str(self.errno)]


class ExecError(PycontainError):
    """The container's program cannot be executed: 127 when it does not exist, 126 otherwise."""

    kind = "exec"

    def __init__(self, message: str, *, hint: str = "", exit_code: int = 126) -> None:
        super().__init__(message, hint=hint)
        self.exit_code = exit_code

    def to_fields(self) -> list[str]:
        return [self.kind, str(self), self.hint, str(self.exit_code)]


class HookError(PycontainError):
    """A program that the configuration runs at a point of the lifecycle has failed."""

    kind = "hook"


class StoreError(PycontainError):
    """State, journal, log or data on disk cannot be read or written."""

    kind = "store"


_PLAIN: dict[str, type[PycontainError]] = {
    cls.kind: cls
    for cls in (PycontainError, UsageError, LifecycleError, NotFound, Exists, WrongState, HookError, StoreError)
}


def from_fields(fields: list[str]) -> PycontainError:
    """Rebuild the error that :meth:`PycontainError.to_fields` described; an unknown kind becomes the base class."""
    kind, message, hint, *rest = fields
    if kind == SpecError.kind:
        return SpecError(message, rest[0], hint=hint, source=rest[1])
    if kind == HostError.kind:
        return HostError(message, requirement=rest[0], hint=hint)
    if kind == StageError.kind:
        stage, op, spec_path, errno = rest
        return StageError(message, hint=hint, stage=stage, op=op, spec_path=spec_path, errno=int(errno))
    if kind == ExecError.kind:
        return ExecError(message, hint=hint, exit_code=int(rest[0]))
    return _PLAIN.get(kind, PycontainError)(message, hint=hint)


def last_of(failures: list[PycontainError]) -> PycontainError:
    """Return the last of several failures, which brings the others with it."""
    *earlier, last = failures
    last.earlier = tuple(earlier)
    return last
