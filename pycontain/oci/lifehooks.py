"""Hooks that run in the runtime's own namespaces: prestart, createRuntime, poststart, poststop. [lean]"""

from __future__ import annotations

import os

from pycontain.kernel import _sys
from pycontain.kernel.constants import CLONE_NEWNS
from pycontain.oci.store import POSTSTART, POSTSTOP
from pycontain.runtime import hooks
from pycontain.spec.hooks import Hooks
from pycontain.spec.state import OCI_VERSION_MAX, HookState

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pycontain.oci.log import Log
    from pycontain.oci.store import State


class HostView:
    """The mount namespace of the caller, kept for hooks before the runtime leaves it; use as a context manager."""

    def __init__(self) -> None:
        self._fd = os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)

    def __enter__(self) -> HostView:
        return self

    def __exit__(self, *_exc: object) -> None:
        os.close(self._fd)

    def enter(self, directory: str) -> Callable[[], None]:
        """Return what a hook's process does before it becomes the hook: it goes back there, into ``directory``.

        Where that has gone meanwhile, it stays in "/".
        """

        def prepare() -> None:
            if os.stat("/proc/self/ns/mnt").st_ino != os.fstat(self._fd).st_ino:
                _sys.setns(self._fd, CLONE_NEWNS)
            try:
                os.chdir(directory)
            except FileNotFoundError:
                os.chdir("/")

        return prepare


def run_before(spec_hooks: Hooks, state: HookState, pid: int, view: HostView) -> None:
    """Run prestart, then createRuntime.

    Raises:
        HookError: of the first that fails.
    """
    # runtime.md#lifecycle: the hooks are steps 3 to 5, and "creating" is step 2
    document = state.document("created", pid)
    outside = hooks.Surroundings(view.enter(state.bundle))
    hooks.run_all(spec_hooks.prestart, document, "hooks.prestart", outside)
    hooks.run_all(spec_hooks.create_runtime, document, "hooks.createRuntime", outside)


def kinds(spec_hooks: Hooks) -> tuple[str, ...]:
    """Return which kinds of hooks later commands have to run."""
    found = ((POSTSTART, spec_hooks.poststart), (POSTSTOP, spec_hooks.poststop))
    return tuple(name for name, entries in found if entries)


def _told(state: State) -> HookState:
    return HookState(OCI_VERSION_MAX, state.id, state.bundle, state.annotations)


def run_poststart(entries: Hooks, state: State, view: HostView | None = None) -> None:
    """Run the hooks that follow the start; ``view`` is where a runtime that has left its mounts came from.

    Raises:
        HookError: of the first that fails.
    """
    document = _told(state).document("running", state.pid)
    prepare = None if view is None else view.enter(state.bundle)
    hooks.run_all(entries.poststart, document, "hooks.poststart", hooks.Surroundings(prepare))


def run_poststop(entries: Hooks, state: State, log: Log, view: HostView | None = None) -> None:
    """Run the hooks that follow the end; one that fails is a warning, and the others are run."""
    document = _told(state).document("stopped", 0)
    prepare = None if view is None else view.enter(state.bundle)
    for index, hook in enumerate(entries.poststop):
        try:
            hooks.run(hook, document, f"hooks.poststop[{index}]", hooks.Surroundings(prepare))
        except Exception as error:
            log.warning(str(error))
