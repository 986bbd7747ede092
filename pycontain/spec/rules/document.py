"""Rules of the document's own properties: version, root, names, mounts, hooks, annotations. Source: config.md.

[lean]
"""

from __future__ import annotations

from pycontain.errors import SpecError
from pycontain.lean_json import quoted
from pycontain.spec.mount_options import MS_REMOUNT, parse_options
from pycontain.spec.rules.linux import check_mappings
from pycontain.spec.rules.rule import require
from pycontain.spec.state import OCI_VERSION_MAX, OCI_VERSION_MIN

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pycontain.spec.mount_options import MountFlags
    from pycontain.spec.mounts import Mount
    from pycontain.spec.rules.rule import Rule
    from pycontain.spec.runtime import Spec

_MAX_NAME = 64  # __NEW_UTS_LEN, uname(2)
_IDENTIFIER = frozenset("0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-")


def parse_version(text: str) -> tuple[int, int, int, str] | None:
    """Return (major, minor, patch, pre-release) of a semantic version, None where it is none.

    Source: semver.org, 2.0.0
    """
    text, plus, build = text.partition("+")
    core, dash, pre = text.partition("-")
    if (plus and not _are_identifiers(build)) or (dash and not _are_identifiers(pre)):
        return None
    if any(_is_number(part) and part != "0" and part[0] == "0" for part in pre.split(".")):
        return None
    parts = core.split(".")
    if len(parts) != 3 or not all(_is_number(part) and (part == "0" or part[0] != "0") for part in parts):
        return None
    # no version has numbers of that length, and int() of thousands of digits raises
    if any(len(part) > 18 for part in parts):
        return None
    return int(parts[0]), int(parts[1]), int(parts[2]), pre


def _are_identifiers(text: str) -> bool:
    return all(part and all(char in _IDENTIFIER for char in part) for part in text.split("."))


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()


def _version(spec: Spec, path: str, warnings: list[str]) -> None:
    version = parse_version(spec.oci_version)
    if version is None:
        rule = f"{quoted(spec.oci_version)} is no semantic version such as {OCI_VERSION_MAX}"
        raise SpecError("ociVersion", rule)
    lowest, highest = parse_version(OCI_VERSION_MIN), parse_version(OCI_VERSION_MAX)
    supported = lowest is not None and highest is not None and lowest[:2] <= version[:2] <= highest[:2]
    # a pre-release comes before its release, so that only one before 1.0.0 is too old
    supported = supported and not (version[:3] == (1, 0, 0) and version[3])
    rule = f"{quoted(spec.oci_version)} is not supported, only {OCI_VERSION_MIN} to {OCI_VERSION_MAX}"
    require(supported, "ociVersion", rule)


def _root(spec: Spec, path: str, warnings: list[str]) -> None:
    require(spec.root.path, "root.path", "is empty")


def _annotations(spec: Spec, path: str, warnings: list[str]) -> None:
    require("" not in spec.annotations, "annotations", "has an empty key")


def _names(spec: Spec, path: str, warnings: list[str]) -> None:
    for name, value in (("hostname", spec.hostname), ("domainname", spec.domainname)):
        if value is not None:
            hint = 'add {"type": "uts"} to linux.namespaces'
            require(spec.linux.namespace("uts"), name, "needs a uts namespace", hint=hint)
            require(len(value.encode()) <= _MAX_NAME, name, f"is longer than {_MAX_NAME} bytes")


def _mounts(spec: Spec, path: str, warnings: list[str]) -> None:
    for index, mount in enumerate(spec.mounts):
        at = f"mounts[{index}]"
        flags = parse_options(mount.options, f"{at}.options")
        require(mount.destination, f"{at}.destination", "is empty")
        if not mount.destination.startswith("/"):
            warnings.append(f"{at}.destination: {quoted(mount.destination)} is relative, which is deprecated")
        if flags.bind:
            require(mount.source is not None, f"{at}.source", "is required for a bind mount")
            # as the kernel, which ignores what is meant for the file system: mount(2), MS_BIND
            ignored = [(f"{at}.options[{mount.options.index(word)}]", quoted(word)) for word in flags.data]
            warnings += [f"{where}: {word} has no effect on a bind mount" for where, word in ignored]
        elif not flags.set & MS_REMOUNT:
            rule = "is required unless options have bind or rbind"
            require(mount.type is not None, f"{at}.type", rule)
        if flags.tmpcopyup:
            where = f"{at}.options[{mount.options.index('tmpcopyup')}]"
            require(mount.type == "tmpfs" and not flags.bind, where, "tmpcopyup is for tmpfs")
        _idmap(spec, mount, flags, at)
        if flags.set & MS_REMOUNT and (flags.idmap or mount.uid_mappings or flags.tmpcopyup):
            raise SpecError(f"{at}.options", "remount changes flags, neither owners nor content")


def _idmap(spec: Spec, mount: Mount, flags: MountFlags, at: str) -> None:
    both = bool(mount.uid_mappings) == bool(mount.gid_mappings)
    missing = "gidMappings" if mount.uid_mappings else "uidMappings"
    require(both, f"{at}.{missing}", "is required where the other mapping is given")
    check_mappings(mount.uid_mappings, f"{at}.uidMappings")
    check_mappings(mount.gid_mappings, f"{at}.gidMappings")
    word = "ridmap" if flags.idmap_recursive else "idmap"
    where = f"{at}.options[{mount.options.index(word)}]" if flags.idmap else f"{at}.uidMappings"
    if flags.idmap or mount.uid_mappings:
        require(flags.bind, where, "owners can be shifted on bind mounts only")
    if flags.idmap and not mount.uid_mappings:
        rule = f"{word} needs uidMappings and gidMappings, or a user namespace"
        require(spec.linux.namespace("user"), where, rule)


def _hooks(spec: Spec, path: str, warnings: list[str]) -> None:
    hooks = spec.hooks
    for key, entries in (
        ("prestart", hooks.prestart),
        ("createRuntime", hooks.create_runtime),
        ("createContainer", hooks.create_container),
        ("startContainer", hooks.start_container),
        ("poststart", hooks.poststart),
        ("poststop", hooks.poststop),
    ):
        for index, hook in enumerate(entries):
            at = f"hooks.{key}[{index}]"
            require(hook.path.startswith("/"), f"{at}.path", f"{quoted(hook.path)} is not an absolute path")
            require(hook.timeout is None or hook.timeout > 0, f"{at}.timeout", f"{hook.timeout} is not above 0")


DOCUMENT_RULES: tuple[Rule, ...] = (
    ("B3", "ociVersion MUST be a semantic version that is supported", _version),
    ("B2", "root.path names a directory", _root),
    ("B7", "annotations MUST NOT have an empty key", _annotations),
    ("N7", "hostname and domainname are for a uts namespace", _names),
    ("M3", "mounts say what to mount; M7: id mappings come in pairs", _mounts),
    ("H3", "hooks MUST have absolute paths; H5: timeouts above zero", _hooks),
)
