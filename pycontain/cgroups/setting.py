"""One write into one interface file as data, and the order in which a set of them succeeds. [lean]"""

from __future__ import annotations

import errno

from pycontain.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


class Setting(Record):
    """Write ``value`` into ``file`` of ``controller``, because the config says so at ``path``.

    ``instead`` is written where this kernel has no such file; ``optional`` settings are then left out, because what
    they ask for holds without the file.
    """

    controller: str
    file: str
    value: str
    path: str
    instead: Setting | None = None
    optional: bool = False

    @property
    def label(self) -> str:
        """Return the path as messages show it: ``memory.limit``."""
        return self.path.removeprefix("linux.resources.")


class Refused(Exception):
    """The kernel refused a setting; :attr:`cause` is its error."""

    def __init__(self, setting: Setting, cause: OSError) -> None:
        super().__init__(setting, cause)
        self.setting = setting
        self.cause = cause


def write_all(settings: Iterable[Setting], write: Callable[[Setting], None]) -> None:
    """Call ``write`` for each setting, those that the kernel refuses again after the others.

    Some values bound each other (memory and memory+swap; quota, period and burst): which one has to go first depends on
    whether they grow or shrink. EINVAL therefore counts only when a round in which nothing else was written ends with
    it.

    Raises:
        Refused: with the first setting that cannot be written.
    """
    pending = list(settings)
    while pending:
        refused: list[tuple[Setting, OSError]] = []
        for setting in pending:
            try:
                _write_one(setting, write)
            except OSError as error:
                if error.errno != errno.EINVAL:
                    raise Refused(setting, error) from error
                refused.append((setting, error))
        if len(refused) == len(pending):
            setting, cause = refused[0]
            raise Refused(setting, cause) from cause
        pending = [setting for setting, _ in refused]


def _write_one(setting: Setting, write: Callable[[Setting], None]) -> None:
    current: Setting | None = setting
    while current is not None:
        try:
            write(current)
            return
        except OSError as error:
            if error.errno != errno.ENOENT or (current.instead is None and not current.optional):
                raise
            current = current.instead
