"""Root file systems that attack the runtime, and the means to see whether they got anywhere.

A planted file leaves its name in ``/hits`` of the root when it is executed; a canary directory on the host shows in
:func:`tree_state`; overwritten program files show in :func:`product_hashes`. All builders change a root that the caller
has copied for the purpose.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

from harness import programs

STDLIB = Path(sysconfig.get_path("stdlib"))
PACKAGE = Path(sysconfig.get_path("platlib")) / "pycontain"

#: Directory in the root in which an executed plant leaves its name.
HITS = "/hits"

#: Executed by a planted module: only modules that are compiled into the interpreter, so that it works wherever it runs.
PLANT = """import posix
try: posix.mkdir({hits!r})
except OSError: pass
posix.close(posix.open({hits!r} + "/{name}", posix.O_CREAT | posix.O_WRONLY))
"""


def source_files() -> Iterator[Path]:
    """Yield the Python sources that the runtime may load: the standard library's and the product's own."""
    for top in (STDLIB, PACKAGE):
        for path in top.rglob("*.py"):
            if not {"test", "tests", "idlelib", "site-packages", "dist-packages"} & set(path.parts):
                yield path


def plant_modules(root: Path) -> list[str]:
    """Put a reporting module into ``root`` for every module of the standard library, every codec, and all of ours.

    They lie where the interpreter would look after it has changed its root. Returns the dotted names.
    """
    names = sorted(sys.stdlib_module_names | {"sitecustomize", "usercustomize", "click", "prctl"})
    planted = [_plant(root, STDLIB / name / "__init__.py", name) for name in names]
    for top, prefix in ((STDLIB / "encodings", "encodings"), (PACKAGE, "pycontain")):
        for path in sorted(top.rglob("*.py")):
            name = ".".join([prefix, *path.relative_to(top).with_suffix("").parts])
            planted.append(_plant(root, path, name))
    # what a program in its own directory, or in /, would find first
    first = ("encodings", "codecs", "linecache", "traceback", "io", "os", "site")
    return planted + [_plant(root, Path("/", f"{name}.py"), f"root.{name}") for name in first]


def plant_fifos(root: Path) -> int:
    """Put a FIFO into ``root`` at the path of every source file: whoever opens one to read waits for ever."""
    count = 0
    for path in source_files():
        inside = _inside(root, path)
        if not inside.exists():
            os.mkfifo(inside)
            count += 1
    return count


def hits(root: Path) -> list[str]:
    """Return the names of the plants that were executed with ``root`` as their root directory."""
    directory = root / HITS.lstrip("/")
    return sorted(os.listdir(directory)) if directory.is_dir() else []


def replace_by_link(root: Path, name: str, target: Path) -> None:
    """Replace ``root``'s ``name`` (``/dev``, ``/etc/passwd``) by a symbolic link to ``target``, a path of the host."""
    path = root / name.lstrip("/")
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
    path.symlink_to(target)


def canary_directory(path: Path) -> Path:
    """Fill the new directory ``path`` with what a runtime would make, replace or remove if it followed a link here."""
    path.mkdir(mode=0o755)
    for name in ("ptmx", "null", "console", "fd", "stdin", "passwd", "self", "core_pattern"):
        (path / name).write_text("canary\n")
    for name in ("pts", "shm", "mqueue", "sys", "fs"):
        (path / name).mkdir()
    return path


def tree_state(top: Path) -> dict[str, tuple[object, ...]]:
    """Return path -> (type and mode, owner, size, times, content) for ``top`` and everything below it."""
    state: dict[str, tuple[object, ...]] = {}
    for parent, directories, files in os.walk(top):
        for path in (parent, *(os.path.join(parent, name) for name in directories + files)):
            info = os.lstat(path)
            content = ""
            if stat.S_ISREG(info.st_mode):
                content = _hash(Path(path))
            elif stat.S_ISLNK(info.st_mode):
                content = os.readlink(path)
            state[path] = (
                info.st_mode,
                info.st_uid,
                info.st_gid,
                info.st_size,
                info.st_mtime_ns,
                info.st_ctime_ns,
                content,
            )
    return state


def product_hashes() -> dict[str, str]:
    """Return path -> sha256 of every file that runs as the product: interpreter, launcher, libraries, .so and .py."""
    files = {Path(os.path.realpath(sys.executable)), Path(sys.executable).parent / "pycontain"}
    files.update(path for top in (STDLIB, PACKAGE) for path in top.rglob("*.so"))
    files.update(path for path in PACKAGE.rglob("*") if path.suffix in {".py", ".pyc"})
    files.update(source_files())
    files.update(_libraries())
    return {str(path): _hash(path) for path in sorted(files) if path.is_file()}


def evil_loader(directory: Path) -> Path:
    """Compile and return the hostile loader (see ``tests/hostile/evil_loader.c``)."""
    source = Path(__file__).parents[1] / "hostile" / "evil_loader.c"
    flags = ("-O1", "-fPIE", "-static-pie", "-nostdlib", "-nostartfiles", "-fno-stack-protector")
    return programs.build(source, directory / "evil_loader", *flags)


def plant_self_exe(root: Path, loader: Path) -> str:
    """Give ``root`` an entry point ``#!/proc/self/exe`` (returned) and ``loader`` as every dynamic loader."""
    entry = root / "entry"
    entry.write_text("#!/proc/self/exe\n")
    entry.chmod(0o755)
    for name in ("lib64/ld-linux-x86-64.so.2", "lib/ld-linux-aarch64.so.1", "lib/ld-linux-armhf.so.3"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(loader, root / name)
    return "/entry"


def _plant(root: Path, path: Path, name: str) -> str:
    inside = _inside(root, path)
    inside.write_text(PLANT.format(hits=HITS, name=name))
    return name


def _inside(root: Path, path: Path) -> Path:
    inside = root / str(path).lstrip("/")
    inside.parent.mkdir(parents=True, exist_ok=True)
    return inside


def _libraries() -> Iterator[Path]:
    """Yield the shared libraries that this interpreter, the same as the product's, has mapped."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        path = line[line.find("/") :] if "/" in line else ""
        if ".so" in path:
            yield Path(path)


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
