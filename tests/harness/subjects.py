"""Commands of an OCI runtime that a test kills or hinders, each with what must be there before."""

from __future__ import annotations

from harness.oci import Oci
from harness.waiting import until

#: Each command, after the one that makes what it is used on.
COMMANDS = {
    "create": ((), ("create", "--bundle", "BUNDLE", "c")),
    "start": (("create", "--bundle", "BUNDLE", "c"), ("start", "c")),
    "exec": (("run", "--detach", "--bundle", "BUNDLE", "c"), ("exec", "c", "echo", "alive")),
    "delete": (("run", "--detach", "--bundle", "BUNDLE", "c"), ("delete", "--force", "c")),
    "run": ((), ("run", "--detach", "--bundle", "BUNDLE", "c")),
}


class Subject:
    """A container on which commands are used, called c."""

    def __init__(self, oci: Oci) -> None:
        self.oci = oci
        document = oci.config("sleep", "1000")
        document["linux"]["resources"] = {"pids": {"limit": 50}}
        self._bundle = str(oci.bundle(document))

    def prepare(self, name: str) -> list[str]:
        """Make what a command needs, unless there is a container already, and return the whole command line."""
        before, words = ([self._bundle if word == "BUNDLE" else word for word in words] for words in COMMANDS[name])
        if before and not self.oci.left():
            self.oci.ok(*before)
        return self.oci.argv(*words)

    def clear(self, *, processes: bool = True) -> None:
        """Remove the container as a person would; there must be nothing left of it."""
        self.oci.ok("delete", "--force", "c")
        assert self.oci.traces(processes=False) == []
        if processes:
            until(lambda: not self.oci.traces(), 5)
