"""Which device nodes a container has, and those that lie in no /dev of our own. [lean]"""

from __future__ import annotations

from pycontain.errors import SpecError
from pycontain.plan.facts import USERNS_HOST
from pycontain.plan.ops import Attach, Device, MakeNodes, OpenTree
from pycontain.spec.mount_options import parse_options

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pycontain.plan.facts import HostFacts
    from pycontain.plan.ops import Op
    from pycontain.spec.runtime import Spec

# config-linux.md#default-devices
DEFAULT_DEVICES = (
    Device("null", "c", 1, 3),
    Device("zero", "c", 1, 5),
    Device("full", "c", 1, 7),
    Device("random", "c", 1, 8),
    Device("urandom", "c", 1, 9),
    Device("tty", "c", 5, 0),
)
# runtime-linux.md#dev-symbolic-links, and devpts' own master
DEFAULT_LINKS = (
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("ptmx", "pts/ptmx"),
)


def listed(spec: Spec) -> tuple[Device, ...]:
    """Return the devices of the configuration, with absolute paths.

    A name that is a link in every container (``/dev/ptmx``) is left out: it leads to the container's own.

    Raises:
        SpecError: a path is none.
    """
    links = {f"/dev/{name}" for name, _ in DEFAULT_LINKS}
    return tuple(
        Device(
            _clean(device.path, f"linux.devices[{index}].path"),
            "c" if device.type == "u" else device.type,
            device.major or 0,
            device.minor or 0,
            0o666 if device.file_mode is None else device.file_mode & 0o7777,
            device.uid or 0,
            device.gid or 0,
        )
        for index, device in enumerate(spec.linux.devices)
        if device.path not in links
    )


def compile_nodes(spec: Spec, facts: HostFacts) -> tuple[list[Op], list[Op]]:
    """Return what makes the nodes that are not in a /dev of our own: elsewhere, or in the root's own /dev.

    Where /dev is mounted from somewhere it is whole as it is: only what is listed has to be there too.

    Raises:
        SpecError: nodes cannot be made for these users.
    """
    mounts = [mount for mount in spec.mounts if mount.destination.rstrip("/") == "/dev"]
    ours = any(mount.type == "tmpfs" and not parse_options(mount.options, "").bind for mount in mounts)
    devices = tuple(device for device in listed(spec) if not ours or not device.path.startswith("/dev/"))
    links: tuple[tuple[str, str], ...] = ()
    if not mounts:
        taken = {device.path for device in devices}
        defaults = tuple(device.replace(path=f"/dev/{device.path}") for device in DEFAULT_DEVICES)
        devices = (*(device for device in defaults if device.path not in taken), *devices)
        links = tuple((f"/dev/{name}", target) for name, target in DEFAULT_LINKS)
    if not devices:
        return [], []
    if facts.privileged and facts.userns.kind == USERNS_HOST:
        return [], [MakeNodes("linux.devices", devices, links)]
    host: list[Op] = []
    init: list[Op] = [MakeNodes("linux.devices", (), links)] if links else []
    for device in devices:
        # in a user namespace no node can be made: the host's own is bound
        if not device.path.startswith("/dev/") or device.kind == "p":
            rule = f"{device.path} cannot be made in a user namespace, but for devices in a /dev that is a tmpfs"
            raise SpecError("linux.devices", rule)
        host.append(OpenTree("linux.devices", f"node.{device.path}", device.path))
        init.append(Attach("linux.devices", f"node.{device.path}", device.path))
    return host, init


def _clean(path: str, spec_path: str) -> str:
    parts = path.split("/")
    if len(parts) < 2 or parts[0] or any(part in ("", ".", "..") for part in parts[1:]):
        raise SpecError(spec_path, f"{path!r} is not the path of a device")
    return path
