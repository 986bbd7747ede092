"""``explain``: the plan of a bundle, in words or as JSON; nothing is made."""

from __future__ import annotations

from pycontain import lean_json
from pycontain.cgroups.cgroup import Cgroup
from pycontain.errors import UsageError
from pycontain.oci import assembly, bundle, store
from pycontain.oci.invocation import Invocation
from pycontain.oci.listing import write
from pycontain.oci.store import CACHE
from pycontain.oci.words import Told
from pycontain.plan import explain as plan_explain

FORMS = ("text", "json")


def explain(invocation: Invocation, told: Told) -> int:
    """Print every step that create would do, with the property of the configuration that asks for it.

    Raises:
        SpecError: the configuration is wrong.
        HostError: this host cannot do it.
    """
    form = told.text("format", "text")
    if form not in FORMS:
        raise UsageError(f"invalid format option: {form}")
    name = store.check_id(told.arguments[0]) if told.arguments else "explained"
    found = bundle.load(told.text("bundle"))
    for line in found.warnings:
        invocation.log.warning(line)
    if invocation.systemd:
        from pycontain.oci import scope

        paths = scope.expected(found.spec.linux.cgroups_path or "", name)
    else:
        paths = assembly.place(found.spec, name, invocation.store.root)
    with Cgroup(paths) as cgroup:
        assembly.check_limits(cgroup, found.spec)
        cache = f"{invocation.store.root}/{CACHE}"
        plan, _ = assembly.compile_bundle(found, name, cgroup, cache, assembly.Terms())
    if form == "json":
        write(lean_json.dumps(plan_explain.steps(plan), indent=2, surrogates=True) + "\n")
    else:
        write(plan_explain.text(plan))
    return 0
