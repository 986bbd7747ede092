"""``explain``: the plan of a bundle, in words or as JSON; nothing is made."""

from __future__ import annotations

from pycontain import lean_json
from pycontain.cgroups.cgroup import Cgroup
from pycontain.errors import HostError, UsageError
from pycontain.oci import assembly, bundle, store
from pycontain.oci.invocation import Invocation
from pycontain.oci.listing import write
from pycontain.oci.store import CACHE
from pycontain.oci.words import Told
from pycontain.plan import explain as plan_explain
from pycontain.runtime.abilities import Abilities

FORMS = ("text", "json")


def explain(invocation: Invocation, told: Told) -> int:
    """Print every step that create would do, what asks for it, what it needs, and whether this host has that.

    Raises:
        SpecError: the configuration is wrong.
        HostError: this host cannot do it; the steps have been printed.
    """
    form = told.text("format", "text")
    if form not in FORMS:
        raise UsageError(f"invalid format option: {form}")
    name = store.check_id(told.arguments[0]) if told.arguments else "explained"
    found = bundle.load(told.text("bundle"), starts=False)
    for line in found.warnings:
        invocation.log.warning(line)
    if invocation.systemd:
        from pycontain.oci import scope

        paths = scope.expected(found.spec.linux.cgroups_path or "", name)
    else:
        paths = assembly.place(found.spec, name, invocation.store.root)
    cache = f"{invocation.store.root}/{CACHE}"
    refused: HostError | None = None
    with Cgroup(paths) as cgroup:
        try:
            assembly.check_limits(cgroup, found.spec)
        except HostError as error:
            refused = error
        plan, _ = assembly.compile_bundle(found, name, cgroup, cache, assembly.Terms())
    lack = Abilities((f"{invocation.store.root}/{name}",)).lack
    steps = plan_explain.steps(plan, lack)
    if form == "json":
        write(lean_json.dumps(steps, indent=2, surrogates=True) + "\n")
    else:
        write(plan_explain.text(plan, lack))
    if refused is not None:
        raise refused
    impossible = [step["what"] for step in steps if not step["possible"]]
    if impossible:
        raise HostError(f"this host cannot do {len(impossible)} of {len(steps)} steps: {'; '.join(impossible)}")
    return 0
