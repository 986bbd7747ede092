"""A plan in words or as plain data: what would be done, in order, and which line of the config asked for it. Pure."""

from __future__ import annotations

from pycontain.plan import capabilities, needs
from pycontain.plan.namespaces import CLONE_FLAGS
from pycontain.plan.process import RLIMITS
from pycontain.plan.scheduling import POLICIES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from pycontain.plan.needs import Need
    from pycontain.plan.plan import Plan
    from pycontain.plan.process import ProcessPlan
    from pycontain.plan.scheduling import Scheduling

    Row = tuple[str, str, str, str, dict[str, Any], tuple[Need, ...]]

_STAGES = {"host": "on the host", "init": "inside", "process": "the process"}


def nothing_lacks(_need: Need) -> str:
    """Return "": whoever only wants the plan asks no host."""
    return ""


def steps(plan: Plan, lack: Callable[[Need], str] = nothing_lacks) -> list[dict[str, Any]]:
    """Return the steps in the order in which they are done.

    Each is ``{"stage", "op", "what", "spec_path", "arguments", "needs", "possible"}``; the arguments are the
    operation's own, with flags as the numbers that the kernel takes. ``needs`` are ``{"kind", "name", "lack"}``;
    ``lack`` says why this host does not have it, "" where it has.
    """
    found = []
    for stage, op, what, path, arguments, wanted in _rows(plan):
        needed = [{"kind": need.kind, "name": need.name, "lack": lack(need)} for need in wanted]
        row = {"stage": stage, "op": op, "what": what, "spec_path": path, "arguments": arguments, "needs": needed}
        found.append({**row, "possible": not any(need["lack"] for need in needed)})
    return found


def _rows(plan: Plan) -> list[Row]:
    rows: list[Row] = []
    new = _new_namespaces(plan)
    what = "new namespaces: " + ", ".join(new)
    rows.append(("host", "Clone", what, "linux.namespaces", {"namespaces": new}, needs.of_namespaces(new)))
    for kind, path in plan.namespaces.join:
        words = {"namespace": kind, "path": path}
        rows.append(
            ("host", "Join", f"{kind} namespace {path}", "linux.namespaces", words, (needs.Need(needs.FILE, path),))
        )
    for mapping in plan.userns.uid_map:
        last = mapping.container_id + mapping.size - 1
        what = f"ids {mapping.container_id} to {last} are the host's from {mapping.host_id} on ({plan.userns.kind})"
        rows.append(("host", "MapIds", what, "linux.uidMappings", mapping.asdict(), needs.of_maps(plan)))
    if plan.cgroup:
        words = {"path": plan.cgroup}
        rows.append(
            ("host", "Cgroup", f"cgroup {plan.cgroup}", "linux.cgroupsPath", words, (needs.Need(needs.CGROUP, ""),))
        )
    if plan.resources is not None:
        for what, path, value in _limits(plan.resources.asdict(), "linux.resources"):
            rows.append(("host", "Limit", what, path, {"value": value}, needs.of_limit(path)))
    where = "init" if plan.host_inside else "host"
    for stage, op in (*((where, op) for op in plan.host), *(("init", op) for op in plan.init)):
        arguments = op.asdict()
        del arguments["spec_path"]
        rows.append((stage, type(op).__name__, op.describe(), op.spec_path, arguments, needs.of_op(op)))
    for what, path, arguments in _process(plan.process):
        wanted = needs.of_process(path, plan.process, arguments)
        rows.append(("process", "Process", what, path, arguments, wanted))
    return rows


def document(plan: Plan, lack: Callable[[Need], str] = nothing_lacks) -> dict[str, Any]:
    """Return the whole plan as one document, ready for JSON: what the container will have, and the steps to it."""
    spaces, users = plan.namespaces, plan.userns
    joined = dict(spaces.join)
    return {
        "namespaces": {
            "new": _new_namespaces(plan),
            "joined": [{"type": kind, "path": path} for kind, path in joined.items()],
            "host": [kind for kind in CLONE_FLAGS if kind not in joined and not spaces.has_new(kind)],
            "time_offsets": list(spaces.time_offsets),
        },
        "user_mapping": {
            "kind": users.kind,
            "shifted_mounts": users.idmap,
            "uid_map": [mapping.asdict() for mapping in users.uid_map],
            "gid_map": [mapping.asdict() for mapping in users.gid_map],
        },
        "cgroup": plan.cgroup,
        "limits": _given(plan.resources.asdict()) if plan.resources is not None else {},
        "steps": steps(plan, lack),
    }


def _new_namespaces(plan: Plan) -> list[str]:
    return [kind for kind in CLONE_FLAGS if plan.namespaces.has_new(kind)]


def _given(values: dict[str, Any]) -> dict[str, Any]:
    """Return resources without those that nobody has limited."""
    found = {key: _given(value) if isinstance(value, dict) else value for key, value in values.items()}
    return {key: value for key, value in found.items() if value not in (None, "", [], {}, False)}


def text(plan: Plan, lack: Callable[[Need], str] = nothing_lacks) -> str:
    """Return the steps as lines, grouped by stage, each with the config's path behind it and then what it needs.

    A line below says what this host lacks for it.
    """
    lines: list[str] = []
    stage = ""
    for number, step in enumerate(steps(plan, lack), 1):
        if step["stage"] != stage:
            stage = step["stage"]
            lines.append(f"{_STAGES[stage]}:")
        asked = f"   [{step['spec_path']}]" if step["spec_path"] else ""
        wanted = [needs.Need(need["kind"], need["name"]) for need in step["needs"]]
        needed = f"   needs {', '.join(map(str, wanted))}" if wanted else ""
        lines.append(f"{number:4}  {step['what']}{asked}{needed}")
        for need, found in zip(wanted, step["needs"], strict=True):
            if found["lack"]:
                lines.append(f"      not on this host: {need}: {found['lack']}")
    return "\n".join(lines) + "\n"


def _limits(values: dict[str, Any], path: str) -> list[tuple[str, str, Any]]:
    found: list[tuple[str, str, Any]] = []
    for key, value in values.items():
        if isinstance(value, dict):
            found += _limits(value, f"{path}.{key}")
        elif key == "devices" and value:
            found.append((f"devices: {len(value)} rules", f"{path}.devices", value))
        elif value not in (None, "", [], False):
            found.append((f"{path.rpartition('.')[2]}.{key} = {value}", f"{path}.{key}", value))
    return found


def _process(process: ProcessPlan) -> list[tuple[str, str, dict[str, Any]]]:
    names = {number: name for name, number in RLIMITS.items()}
    kept = [name for number, name in enumerate(capabilities.NAMES) if process.capabilities.bounding >> number & 1]
    ids = {"uid": process.uid, "gid": process.gid, "groups": list(process.groups or ())}
    rows: list[tuple[str, str, dict[str, Any]]] = [
        (f"directory {process.cwd}", "process.cwd", {"path": process.cwd}),
        (f"user {process.uid}:{process.gid}" + "".join(f",{gid}" for gid in process.groups or ()), "process.user", ids),
        (f"capabilities: {' '.join(kept) or 'none'}", "process.capabilities", {"bounding": kept}),
    ]
    for number, soft, hard in process.rlimits:
        limit = {"name": names[number], "soft": soft, "hard": hard}
        rows.append((f"{names[number]} {soft}:{hard}", "process.rlimits", limit))
    if process.oom_score_adj is not None:
        number = process.oom_score_adj
        rows.append((f"OOM score {number:+}", "process.oomScoreAdj", {"adjustment": number}))
    if process.no_new_privileges:
        rows.append(("no new privileges", "process.noNewPrivileges", {}))
    for label, key, value in (
        ("AppArmor profile", "apparmorProfile", process.apparmor),
        ("SELinux label", "selinuxLabel", process.selinux),
    ):
        if value:
            rows.append((f"{label} {value}", f"process.{key}", {"label": value}))
    rows += _scheduling(process.scheduling)
    if process.seccomp is not None:
        instructions = len(process.seccomp) // 8
        what = f"seccomp filter of {instructions} instructions"
        rows.append((what, "linux.seccomp", {"instructions": instructions}))
    if process.argv:
        program = {"argv": list(process.argv), "env": list(process.env)}
        rows.append((f"execute {' '.join(process.argv)}", "process.args", program))
    return rows


def _scheduling(wanted: Scheduling) -> list[tuple[str, str, dict[str, Any]]]:
    rows: list[tuple[str, str, dict[str, Any]]] = []
    if wanted.scheduler is not None:
        names = ("policy", "nice", "flags", "priority", "runtime", "deadline", "period")
        given = dict(zip(names, wanted.scheduler, strict=True))
        policy = next(name for name, number in POLICIES.items() if number == given["policy"])
        rows.append((f"scheduler {policy}, nice {given['nice']}", "process.scheduler", given))
    if wanted.io_priority is not None:
        number = wanted.io_priority
        rows.append((f"I/O priority {number:#x}", "process.ioPriority", {"priority": number}))
    if wanted.personality is not None:
        rows.append((f"personality {wanted.personality}", "linux.personality", {"persona": wanted.personality}))
    if wanted.memory_policy is not None:
        mode, nodes = wanted.memory_policy
        what = f"memory policy {mode:#x}, nodes {','.join(map(str, nodes)) or 'none'}"
        rows.append((what, "linux.memoryPolicy", {"mode": mode, "nodes": list(nodes)}))
    return rows
