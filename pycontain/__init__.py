"""Containers on Linux, written in Python: an OCI-like runtime and the commands people know from docker.

The library: :func:`pycontain.run` and what it returns, and the errors of :mod:`pycontain.errors` under their own names.
Nothing of it is imported before it is asked for (PEP 562), because every start of a container pays for what this file
does.
"""

from __future__ import annotations

__version__ = "0.1.0"

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pycontain.api import Result as Result
    from pycontain.api import Usage as Usage
    from pycontain.api import run as run
    from pycontain.errors import ExecError as ExecError
    from pycontain.errors import Exists as Exists
    from pycontain.errors import HookError as HookError
    from pycontain.errors import HostError as HostError
    from pycontain.errors import LifecycleError as LifecycleError
    from pycontain.errors import NotFound as NotFound
    from pycontain.errors import PycontainError as PycontainError
    from pycontain.errors import SpecError as SpecError
    from pycontain.errors import StageError as StageError
    from pycontain.errors import StoreError as StoreError
    from pycontain.errors import UsageError as UsageError
    from pycontain.errors import WrongState as WrongState

_API = ("Result", "Usage", "run")
_ERRORS = (
    *("ExecError", "Exists", "HookError", "HostError", "LifecycleError", "NotFound", "PycontainError", "SpecError"),
    *("StageError", "StoreError", "UsageError", "WrongState"),
)
__all__ = [*_API, *_ERRORS, "__version__"]  # noqa: PLE0604  (all are texts)


def __getattr__(name: str) -> object:
    """Return a part of the library, imported when it is first asked for."""
    if name not in _API and name not in _ERRORS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    module = import_module("pycontain.api" if name in _API else "pycontain.errors")
    value: object = getattr(module, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
