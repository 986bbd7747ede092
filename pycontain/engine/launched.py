"""The maker of a launched container: a fork of the launcher that makes it, attends to it and removes it.

As with a direct run it is init's parent, and init has PDEATHSIG. It watches three others: the socket of whoever asked,
on which a word or the end means that nobody waits any more, the owner and the launcher. If one of them goes, the
container is killed and removed, so that it cannot outlive its owner by more than the time this takes.
"""

from __future__ import annotations

import os
import select
import time

from pycontain.cgroups import stats
from pycontain.engine import events, names, requests
from pycontain.engine.making import Making
from pycontain.engine.options import run_options
from pycontain.engine.requests import Ended
from pycontain.errors import HostError, PycontainError, SpecError, StageError, UsageError
from pycontain.runtime import create, remove, settings, state
from pycontain.runtime.deadline import Deadline
from pycontain.runtime.init import Stdio

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

    from pycontain.engine.options import RunOptions
    from pycontain.runtime.create import Created

# what the launcher has as standard input
_NULL = 0


class Job:
    """A request: what is to be run, as a document, and the descriptors that came with it."""

    def __init__(self, document: dict[str, Any], fds: tuple[int, ...]) -> None:
        self.control, *stdio = fds
        self.stdio = tuple(stdio)
        self.options: dict[str, Any] = document[requests.OPTIONS]
        self.store: str | None = document[requests.STORE]
        self.directory: str = document[requests.DIRECTORY]
        self.timeout_s: float = document[requests.TIMEOUT]
        self.container_id = names.new_id()

    def close(self) -> None:
        """Close this process's copies of the descriptors."""
        for fd in (self.control, *self.stdio):
            os.close(fd)

    @property
    def streams(self) -> tuple[int, int, int]:
        """The container's standard streams; its input is /dev/null where the owner has sent none."""
        *stdin, stdout, stderr = self.stdio
        return (stdin[0] if stdin else _NULL, stdout, stderr)


def make(job: Job, guards: tuple[int, ...]) -> NoReturn:
    """Run the container of a job, tell the owner how it has ended, and exit. ``guards`` are pidfds to watch."""
    try:
        os.chdir(job.directory)  # what relative paths of the request are relative to
        ended = _run(job, guards)
    except PycontainError as error:
        requests.send_error(job.control, _reworded(error, job))
    except Exception as error:
        text = f"internal error: {type(error).__name__}: {error}"
        requests.send_error(job.control, StageError(text, stage="host", hint="please report this"))
    else:
        requests.send_end(job.control, ended)
    os._exit(0)


def _reworded(error: PycontainError, job: Job) -> PycontainError:
    if not isinstance(error, (SpecError, HostError, StageError)):
        return error
    from pycontain.engine.optionwords import reworded

    return reworded(error, job.options)


def _run(job: Job, guards: tuple[int, ...]) -> Ended:
    options = _options(job)
    with Making(settings.load(dict(os.environ), root=job.store), options, job.container_id) as making:

        def forget() -> None:
            making.lock.forget()
            for fd in (job.control, *guards):
                os.close(fd)

        created = making.create(Stdio(*job.streams), tied=True, forget=forget)
        for fd in job.stdio:
            os.close(fd)
        try:
            saved = making.save(created, shape=state.DIRECT, status=state.RUNNING, attended_by=os.getpid())
            cgroup = making.assembly.cgroup
            baseline = cgroup.oom_kills()
            began_ns = time.monotonic_ns()
            create.start(created, making.assembly.plan.process)
        except BaseException:
            create.abandon(created)
            raise
        making.lock.unlock()
        events.record(making.settings, saved, events.START)
        deadline = Deadline(job.timeout_s)
        gone = _attend(making, created, (job.control, *guards), deadline)
        exit_code, signal = create.wait(created)
        ended = Ended(
            exit_code=exit_code,
            signal=signal,
            oom_killed=cgroup.oom_kills() > baseline,
            timed_out=deadline.passed,
            wall_ns=time.monotonic_ns() - began_ns,
            **stats.totals(cgroup),
            notes=making.notes,
        )
        if ended.oom_killed:
            events.record(making.settings, saved, events.OOM)
        events.record(making.settings, saved, events.DIE, exitCode=str(exit_code))
        making.lock.relock()
        remove.undo(making.entry)
        events.record(making.settings, saved, events.DESTROY)
    if gone == guards[-1]:
        raise StageError("the launcher was killed, and its containers with it", stage="host")
    return ended


def _options(job: Job) -> RunOptions:
    try:
        return run_options({**job.options, "rm": True, "interactive": len(job.stdio) == 3}, {})
    except UnicodeError as error:
        raise UsageError(f"an option is no text: {error}") from error


def _attend(making: Making, created: Created, others: tuple[int, ...], deadline: Deadline) -> int:
    """Return when the container's first process has ended: which of ``others`` was the reason, -1 if none.

    All its processes are killed at the deadline, or when one of ``others`` has something to say or has gone.
    """

    def kill(_signal: int = 0) -> None:
        # the cgroup as well: with the host's process ids, others than the first one do not end with it
        remove.kill(making.entry)

    poll = select.poll()
    for fd in (created.pidfd, *others):
        poll.register(fd, select.POLLIN)
    while True:
        left_s = deadline.left_s()
        ready = {fd for fd, _ in poll.poll(None if left_s is None else left_s * 1000)}
        if created.pidfd in ready:
            return -1
        for fd in others:
            if fd in ready:
                kill()
                return fd
        deadline.check(kill)
