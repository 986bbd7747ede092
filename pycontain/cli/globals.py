"""Options before the command, and the settings that they make. [lean]"""

from __future__ import annotations

from pycontain.cli.table import flag, value
from pycontain.engine.messages import LEVELS
from pycontain.engine.suggest import closest
from pycontain.errors import UsageError
from pycontain.runtime import settings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

FORMATS = ("text", "json")
MANAGERS = ("auto", "systemd", "cgroupfs")

GLOBAL_OPTIONS = (
    value("--root", "DIR", "keep state and data below DIR"),
    value("--log-level", "LEVEL", "least level of messages: debug, info, warning, error [warning]", choices=LEVELS),
    value("--log-format", "FORMAT", "messages as text or json [text]", choices=FORMATS),
    value("--cgroup-manager", "NAME", "who makes cgroups: auto, systemd, cgroupfs [auto]", choices=MANAGERS),
    flag("--version -V", "print the version and exit"),
)


def load_settings(values: dict[str, Any], environ: dict[str, str]) -> settings.Settings:
    """Return the settings of this invocation.

    Raises:
        UsageError: a value that is not one of those allowed.
    """
    for key, allowed in (("log_level", LEVELS), ("log_format", FORMATS), ("cgroup_manager", MANAGERS)):
        text = values.get(key, allowed[0])
        if text not in allowed:
            guess = closest(text, allowed)
            name = "--" + key.replace("_", "-")
            hint = f"did you mean {guess}?" if guess else "one of " + ", ".join(allowed)
            raise UsageError(f"{name}: {text!r} is unknown", hint=hint)
    return settings.load(
        environ,
        root=values.get("root"),
        cgroup_manager=values.get("cgroup_manager", "auto"),
        log_level=values.get("log_level", "warning"),
        log_format=values.get("log_format", "text"),
    )
