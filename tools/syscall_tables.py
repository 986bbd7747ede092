#!/usr/bin/env python3
"""Write pycontain/plan/data/syscalls_*.py from the system call tables of a Linux source tree.

    tools/syscall_tables.py LINUX_SOURCE_TREE

The tree may be older than the newest kernel: calls that it lacks are added from NEWER below. Two independent lists
can check the outcome: libseccomp (tests/unit/test_seccomp_tables.py does) and golang.org/x/sys/unix.
"""

from __future__ import annotations

import pathlib
import sys
import textwrap

# (file in the tree, ABIs of its second column that the architecture has)
TABLES = {
    "x86_64": ("arch/x86/entry/syscalls/syscall_64.tbl", ("common", "64")),
    "x32": ("arch/x86/entry/syscalls/syscall_64.tbl", ("common", "x32")),
    "x86": ("arch/x86/entry/syscalls/syscall_32.tbl", ("i386",)),
    # arch/arm64/kernel/Makefile.syscalls names the extra ABIs
    "aarch64": ("scripts/syscall.tbl", ("common", "64", "renameat", "rlimit", "memfd_secret")),
    "arm": ("arch/arm/tools/syscall.tbl", ("common", "eabi")),
}
# Calls newer than Linux 6.12, the oldest tree this is meant for. Since 5.1 a call has one number everywhere.
NEWER = {
    "setxattrat": 463,  # 6.13
    "getxattrat": 464,
    "listxattrat": 465,
    "removexattrat": 466,
    "open_tree_attr": 467,  # 6.15
    "file_getattr": 468,  # 6.17
    "file_setattr": 469,
    "listns": 470,  # 6.19
    "rseq_slice_yield": 471,  # 7.0
}
NEWER_X86_64 = {"uprobe": 336}  # 6.18
# Other architectures of the specification with a table of their own; generic ones are in scripts/syscall.tbl
FOREIGN = ("m68k", "mips", "parisc", "powerpc", "s390", "sh")
# arch/arm/include/uapi/asm/unistd.h: __ARM_NR_BASE + 1 …
ARM_PRIVATE = {
    name: 0x0F0001 + i for i, name in enumerate(("breakpoint", "cacheflush", "usr26", "usr32", "set_tls", "get_tls"))
}
MAX_GAP = 8
DATA = pathlib.Path(__file__).parent.parent / "pycontain/plan/data"


def read_table(path: pathlib.Path, abis: tuple[str, ...]) -> dict[str, int]:
    """Return name -> number of one table, of the rows with one of ``abis`` (any, where it is empty)."""
    rows = (line.split() for line in path.read_text().splitlines() if line[:1].isdigit())
    return {row[2]: int(row[0]) for row in rows if not abis or row[1] in abis}


def write(name: str, docstring: str, body: str) -> None:
    """Write one data module."""
    note = "Written by tools/syscall_tables.py from the tables of the Linux kernel; do not edit."
    (DATA / f"{name}.py").write_text(f'"""{docstring}\n\n{note}\n"""\n\n{body}')


def words(names: list[str], indent: str) -> str:
    """Return names as a string literal over several lines, every line but the last ending in a space."""
    lines = textwrap.wrap(" ".join(names), 100)
    return "\n".join(f'{indent}"{line}{" " if i < len(lines) - 1 else ""}"' for i, line in enumerate(lines))


def runs(numbers: dict[str, int]) -> str:
    """Return ``RUNS = ((first number, "names of consecutive numbers, - for none"), …)``."""
    groups: list[tuple[int, list[str]]] = []
    for number, name in sorted((number, name) for name, number in numbers.items()):
        gap = number - groups[-1][0] - len(groups[-1][1]) if groups else 0
        if groups and gap <= MAX_GAP:
            groups[-1][1].extend(["-"] * gap + [name])
        else:
            groups.append((number, [name]))
    rows = ""
    for first, names in groups:
        text = words(names, " " * 12)
        text = f"(\n{text}\n        )" if "\n" in text else text.strip()
        rows += f"    (\n        {first},\n        {text},\n    ),\n"
    return f"RUNS: tuple[tuple[int, str], ...] = (\n{rows})\n"


def main(tree: pathlib.Path) -> None:
    """Read the tables of the tree and write the data modules."""
    tables = {arch: read_table(tree / file, abis) for arch, (file, abis) in TABLES.items()}
    for arch, table in tables.items():
        table.update({**NEWER, **(NEWER_X86_64 if arch in ("x86_64", "x32") else {})})
    tables["arm"].update(ARM_PRIVATE)
    native, x32 = tables["x86_64"], tables.pop("x32")
    for arch, table in tables.items():
        docstring = f"System call numbers of {arch}: runs of consecutive numbers, - where there is no call. [lean]"
        write(f"syscalls_{arch}", docstring, runs(table))
    own = {name: number for name, number in x32.items() if native.get(name) != number}
    absent = sorted(set(native) - set(x32))
    write(
        "syscalls_x32",
        "Where x32 differs from x86_64: numbers of its own (without the x32 bit), calls that it lacks. [lean]",
        f"{runs(own)}ABSENT = (\n{words(absent, ' ' * 4)}\n)\n",
    )
    known = set().union(*tables.values(), x32)
    files = [path for arch in FOREIGN for path in tree.glob(f"arch/{arch}/kernel/syscalls/*.tbl")]
    foreign = {name for path in files for name in read_table(path, ()) if not name.startswith(("reserved", "unused"))}
    foreign |= set(read_table(tree / "scripts/syscall.tbl", ()))
    write(
        "syscalls_foreign",
        "Names of system calls that only other architectures have: skipped in a profile without a warning. [lean]",
        f"NAMES = (\n{words(sorted(foreign - known), '    ')}\n)\n",
    )


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(pathlib.Path(sys.argv[1]))
