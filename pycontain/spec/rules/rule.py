"""How a rule looks, and how a list of them is applied.

[lean]
"""

from __future__ import annotations

from pycontain.errors import SpecError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    # id in the project's list of requirements, what must hold, check(subject, its path, warnings to add to)
    Rule = tuple[str, str, Callable[[Any, str, list[str]], None]]


def apply_rules(rules: tuple[Rule, ...], subject: object, path: str, warnings: list[str]) -> None:
    """Check a record at ``path`` against every rule, in order. Raises: SpecError: of the first that does not hold."""
    for _, _, check in rules:
        check(subject, path, warnings)


def below(path: str, name: str) -> str:
    """Return the path of a property of the object at ``path``, which is "" for the document itself."""
    return f"{path}.{name}" if path else name


def require(condition: object, path: str, rule: str, *, hint: str = "") -> None:
    """Raise SpecError unless the condition is true."""
    if not condition:
        raise SpecError(path, rule, hint=hint)
