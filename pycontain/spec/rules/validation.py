"""What must hold between the values of a document: every rule is a row with its id and the sentence it enforces.

[lean]

The ids are those of the project's list of requirements (B bundle, P process, N namespaces, U users, M mounts,
D devices, G cgroups, H hooks, S seccomp, R paths and rdt). Rules look at records only, never at the host.
"""

from __future__ import annotations

from pycontain.errors import SpecError
from pycontain.spec.rules.document import DOCUMENT_RULES
from pycontain.spec.rules.linux import LINUX_RULES
from pycontain.spec.rules.process import PROCESS_RULES
from pycontain.spec.rules.resources import RESOURCES_RULES
from pycontain.spec.rules.rule import apply_rules
from pycontain.spec.rules.seccomp import SECCOMP_RULES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pycontain.spec.process import Process
    from pycontain.spec.resources import LinuxResources
    from pycontain.spec.rules.rule import Rule
    from pycontain.spec.runtime import Spec

RULES: tuple[Rule, ...] = (*DOCUMENT_RULES, *PROCESS_RULES, *LINUX_RULES, *RESOURCES_RULES, *SECCOMP_RULES)


def validate(spec: Spec, *, source: str = "config.json") -> tuple[str, ...]:
    """Return warnings, one line each, beginning with a JSON path.

    Raises:
        SpecError: of the first rule that does not hold.
    """
    linux = spec.linux
    parts: list[tuple[tuple[Rule, ...], object, str]] = [(DOCUMENT_RULES, spec, "")]
    if spec.process is not None:
        parts.append((PROCESS_RULES, spec.process, "process"))
    parts.append((LINUX_RULES, spec, ""))
    if linux.resources is not None:
        parts.append((RESOURCES_RULES, linux.resources, "linux.resources"))
    if linux.seccomp is not None:
        parts.append((SECCOMP_RULES, linux.seccomp, "linux.seccomp"))
    return _validate(parts, source)


def validate_process(process: Process, *, source: str = "process.json") -> tuple[str, ...]:
    """Return warnings for the process of an ``exec``; raises as :func:`validate`."""
    return _validate([(PROCESS_RULES, process, "")], source)


def validate_resources(resources: LinuxResources, *, source: str = "resources.json") -> tuple[str, ...]:
    """Return warnings for the resources of an ``update``; raises as :func:`validate`."""
    return _validate([(RESOURCES_RULES, resources, "")], source)


def _validate(parts: list[tuple[tuple[Rule, ...], object, str]], source: str) -> tuple[str, ...]:
    warnings: list[str] = []
    try:
        for rules, subject, path in parts:
            apply_rules(rules, subject, path, warnings)
    except SpecError as error:
        raise SpecError(error.path, error.rule, hint=error.hint, source=source) from None
    return tuple(warnings)
