"""The installed program, run as a person runs it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

#: The launcher beside the interpreter that runs the tests: `.venv/bin/pycontain`.
LAUNCHER = Path(sys.executable).parent / "pycontain"

#: What may stay in a root directory after every container is gone: these directories, empty.
EMPTY_AFTERWARDS = ("state/containers", "state/names", "data/overlay", "data/logs", "data/files")


class Cli:
    """``pycontain --root ROOT …`` with a time limit on each call.

    ``prefix`` is put before the program (an ordinary user's ``setpriv``), ``env`` is added to the environment,
    ``program`` is that of another installation.
    """

    def __init__(
        self,
        root: Path,
        *,
        prefix: tuple[str, ...] = (),
        env: Mapping[str, str] | None = None,
        program: Path = LAUNCHER,
    ) -> None:
        self.root = root
        self.program = program
        self.prefix = prefix
        self.env = dict(env or {})

    def argv(self, *args: str | os.PathLike[str]) -> list[str]:
        """Return the whole command line for ``args``."""
        return [*self.prefix, str(self.program), "--root", str(self.root), *(os.fspath(arg) for arg in args)]

    def environment(self, extra: Mapping[str, str] | None = None) -> dict[str, str]:
        """Return the environment of a call: this process's own, then the constructor's, then ``extra``."""
        return {**os.environ, **self.env, **(extra or {})}

    def run(
        self,
        *args: str | os.PathLike[str],
        input: str | None = None,
        timeout: float = 60,
        check: bool = False,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run to the end and return exit code and output; without ``input`` standard input is empty.

        The call gets its own session, so that nothing it starts can signal the tests, and at ``timeout`` all that is
        left of its process group is killed.
        """
        process = self.popen(*args, env=env, cwd=cwd, stdin=subprocess.DEVNULL if input is None else subprocess.PIPE)
        try:
            stdout, stderr = process.communicate(input, timeout)
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            raise
        done = subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)
        if check and done.returncode != 0:
            raise AssertionError(f"{describe(done)}\nexpected exit code 0")
        return done

    def popen(self, *args: str | os.PathLike[str], env: Mapping[str, str] | None = None, **options: Any) -> Any:
        """Start without waiting; returns the ``Popen`` in text mode, its standard streams piped unless given."""
        options = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
        return subprocess.Popen(
            self.argv(*args), env=self.environment(env), text=True, errors="replace", start_new_session=True, **options
        )

    def ok(self, *args: str | os.PathLike[str], **options: Any) -> str:
        """Run, expect exit code 0, return standard output."""
        return self.run(*args, check=True, **options).stdout

    def fails(self, *args: str | os.PathLike[str], code: int = 125, **options: Any) -> str:
        """Run, expect exit code ``code`` and no traceback, return standard error."""
        done = self.run(*args, **options)
        assert done.returncode == code, f"{describe(done)}\nexpected exit code {code}"
        assert "Traceback" not in done.stderr, describe(done)
        return done.stderr

    def json(self, *args: str | os.PathLike[str], **options: Any) -> Any:
        """Run, expect exit code 0, return standard output decoded from JSON."""
        return json.loads(self.ok(*args, **options))

    def containers(self) -> list[str]:
        """Return the ids that have a state directory, read from disk: works whatever state the program is in."""
        directory = self.root / "state" / "containers"
        return sorted(os.listdir(directory)) if directory.is_dir() else []

    def remove_all(self) -> None:
        """Remove every container, then prune, as a person would clean up."""
        containers = self.containers()
        if containers:
            self.run("rm", "-f", *containers)
        if self.leftovers():
            self.run("prune", "-f")

    def leftovers(self) -> list[str]:
        """Return what lies where nothing should after :meth:`remove_all`."""
        found = []
        for name in EMPTY_AFTERWARDS:
            directory = self.root / name
            if directory.is_dir():
                found += [str(directory / entry) for entry in sorted(os.listdir(directory))]
        return found


def describe(done: subprocess.CompletedProcess[str]) -> str:
    """Return a finished call as text for a failing assertion."""
    return f"$ {' '.join(done.args)}\nexit code {done.returncode}\nstdout: {done.stdout}\nstderr: {done.stderr}"
