"""A plan in words or as plain data: what would be done, in order, and which line of the config asked for it. Pure."""

from __future__ import annotations

from pycontain.plan import capabilities
from pycontain.plan.namespaces import CLONE_FLAGS
from pycontain.plan.process import RLIMITS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pycontain.plan.plan import Plan
    from pycontain.plan.process import ProcessPlan

_STAGES = {"host": "on the host", "init": "inside", "process": "the process"}


def steps(plan: Plan) -> list[dict[str, Any]]:
    """Return the steps as ``{"stage", "op", "what", "spec_path"}``, in the order in which they are done."""
    rows: list[tuple[str, str, str, str]] = []
    new = [kind for kind in CLONE_FLAGS if plan.namespaces.has_new(kind)]
    rows.append(("host", "Clone", "new namespaces: " + ", ".join(new), "linux.namespaces"))
    rows += [("host", "Join", f"{kind} namespace {path}", "linux.namespaces") for kind, path in plan.namespaces.join]
    for mapping in plan.userns.uid_map:
        last = mapping.container_id + mapping.size - 1
        what = f"ids {mapping.container_id} to {last} are the host's from {mapping.host_id} on ({plan.userns.kind})"
        rows.append(("host", "MapIds", what, "linux.uidMappings"))
    if plan.cgroup:
        rows.append(("host", "Cgroup", f"cgroup {plan.cgroup}", "linux.cgroupsPath"))
    if plan.resources is not None:
        rows += [("host", "Limit", what, path) for what, path in _limits(plan.resources.asdict(), "linux.resources")]
    where = "init" if plan.host_inside else "host"
    rows += [(where, type(op).__name__, op.describe(), op.spec_path) for op in plan.host]
    rows += [("init", type(op).__name__, op.describe(), op.spec_path) for op in plan.init]
    rows += [("process", "Process", what, path) for what, path in _process(plan.process)]
    return [dict(zip(("stage", "op", "what", "spec_path"), row, strict=True)) for row in rows]


def text(plan: Plan) -> str:
    """Return the steps as lines, grouped by stage, each with the config's path behind it."""
    lines: list[str] = []
    stage = ""
    for number, step in enumerate(steps(plan), 1):
        if step["stage"] != stage:
            stage = step["stage"]
            lines.append(f"{_STAGES[stage]}:")
        asked = f"   [{step['spec_path']}]" if step["spec_path"] else ""
        lines.append(f"{number:4}  {step['what']}{asked}")
    return "\n".join(lines) + "\n"


def _limits(values: dict[str, Any], path: str) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for key, value in values.items():
        if isinstance(value, dict):
            found += _limits(value, f"{path}.{key}")
        elif key == "devices" and value:
            found.append((f"devices: {len(value)} rules", f"{path}.devices"))
        elif value not in (None, "", [], False):
            found.append((f"{path.rpartition('.')[2]}.{key} = {value}", f"{path}.{key}"))
    return found


def _process(process: ProcessPlan) -> list[tuple[str, str]]:
    names = {number: name for name, number in RLIMITS.items()}
    kept = [name for number, name in enumerate(capabilities.NAMES) if process.capabilities.bounding >> number & 1]
    rows = [
        (f"directory {process.cwd}", "process.cwd"),
        (f"user {process.uid}:{process.gid}" + "".join(f",{gid}" for gid in process.groups or ()), "process.user"),
        (f"capabilities: {' '.join(kept) or 'none'}", "process.capabilities"),
    ]
    rows += [(f"{names[number]} {soft}:{hard}", "process.rlimits") for number, soft, hard in process.rlimits]
    if process.no_new_privileges:
        rows.append(("no new privileges", "process.noNewPrivileges"))
    for label, value in (("AppArmor profile", process.apparmor), ("SELinux label", process.selinux)):
        if value:
            rows.append((f"{label} {value}", "process"))
    if process.seccomp is not None:
        rows.append((f"seccomp filter of {len(process.seccomp) // 8} instructions", "linux.seccomp"))
    rows.append((f"execute {' '.join(process.argv)}", "process.args"))
    return rows
