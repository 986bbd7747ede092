"""Every constant has the value of the kernel's header, as the compiler of this machine sees it."""

from __future__ import annotations

import re
import signal
import subprocess
from pathlib import Path

from pycontain.kernel import constants as c
from pycontain.plan import capabilities
from pycontain.plan.process import RLIMITS

HEADERS = """
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <sys/resource.h>
#include <linux/audit.h>
#include <linux/bpf.h>
#include <linux/capability.h>
#include <linux/close_range.h>
#include <linux/ioprio.h>
#include <linux/magic.h>
#include <linux/mempolicy.h>
#include <linux/mount.h>
#include <linux/openat2.h>
#include <linux/personality.h>
#include <linux/prctl.h>
#include <linux/sched.h>
#include <linux/sched/types.h>
#include <linux/seccomp.h>
#include <linux/securebits.h>
"""

# Enumerators, which #ifdef does not see; all of them are in the oldest headers that we build with
ENUMERATORS = {
    *("BPF_CGROUP_DEVICE", "BPF_PROG_TYPE_CGROUP_DEVICE", "IOPRIO_WHO_PROCESS"),
    *("IOPRIO_CLASS_RT", "IOPRIO_CLASS_BE", "IOPRIO_CLASS_IDLE"),
    *("MPOL_DEFAULT", "MPOL_PREFERRED", "MPOL_BIND", "MPOL_INTERLEAVE", "MPOL_LOCAL", "MPOL_PREFERRED_MANY"),
}


def preprocess(tmp_path: Path, names: list[str]) -> dict[str, int]:
    """Return the values of those names that the headers define, by a program that prints them."""
    lines = ["#define _GNU_SOURCE", HEADERS, "#include <stdio.h>", "int main(void) {"]
    for name in names:
        lines += ["#if 1" if name in ENUMERATORS else f"#ifdef {name}"]
        lines += [f'printf("{name} %lld\\n", (long long)({name}));', "#endif"]
    source = tmp_path / "constants.c"
    source.write_text("\n".join([*lines, "}\n"]))
    program = tmp_path / "constants"
    subprocess.run(["cc", "-w", "-o", program, source], check=True)
    output = subprocess.run([program], check=True, capture_output=True, text=True).stdout
    return {name: int(value) for name, value in (line.split() for line in output.splitlines())}


def test_constants_are_those_of_the_headers(tmp_path: Path) -> None:
    names = [name for name in vars(c) if re.fullmatch(r"[A-Z][A-Z0-9_]+", name) and isinstance(getattr(c, name), int)]
    tables = {**capabilities.NUMBERS, **RLIMITS}
    wanted = {**{name: getattr(c, name) for name in names}, **tables}
    found = preprocess(tmp_path, sorted(wanted))
    mask = 0xFFFFFFFFFFFFFFFF
    wrong = {name: (wanted[name], value) for name, value in found.items() if value & mask != wanted[name] & mask}
    assert wrong == {}
    # the oldest headers that we build with lack a few names
    assert len(found) > 0.9 * len(wanted), set(wanted) - set(found)


def test_signals_are_those_of_the_interpreter() -> None:
    for name, number in c.SIGNALS.items():
        if hasattr(signal, name):
            assert getattr(signal, name) == number
    assert c.SIGNALS["SIGRTMIN+3"] == 37
    assert c.SIGNALS["SIGRTMAX-14"] == 50
    assert set(c.SIGNALS.values()) == set(range(1, 32)) | set(range(34, 65))


def test_last_capability_is_the_newest_of_linux_5_9() -> None:
    assert capabilities.NUMBERS["CAP_CHECKPOINT_RESTORE"] == 40
    assert len(capabilities.NAMES) == 41
