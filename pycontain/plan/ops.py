"""The operations that a plan is made of: what is asked of the kernel, and which line of the config asked for it.

An op is data. ``describe()`` says in words what it will do; the function that does it is found by the op's class in
the tables of ``runtime``. Ops of the *host* stage run outside the container's namespaces and produce mounts as open
descriptors under a name; ops of the *init* stage run inside and attach them. Without privilege on the host the same
host ops run inside init, in its user namespace.
"""

from __future__ import annotations

from pycontain.record import Record
from pycontain.spec.mount_options import (
    MOUNT_ATTR_NODEV,
    MOUNT_ATTR_NOEXEC,
    MOUNT_ATTR_NOSUID,
    MOUNT_ATTR_NOSYMFOLLOW,
    MOUNT_ATTR_RDONLY,
    MS_PRIVATE,
    MS_SHARED,
    MS_SLAVE,
    MS_UNBINDABLE,
)

_ATTRIBUTES = (
    (MOUNT_ATTR_RDONLY, "read-only"),
    (MOUNT_ATTR_NOSUID, "nosuid"),
    (MOUNT_ATTR_NODEV, "nodev"),
    (MOUNT_ATTR_NOEXEC, "noexec"),
    (MOUNT_ATTR_NOSYMFOLLOW, "nosymfollow"),
)
_PROPAGATION = ((MS_SHARED, "shared"), (MS_SLAVE, "slave"), (MS_PRIVATE, "private"), (MS_UNBINDABLE, "unbindable"))


def attribute_words(attributes: int) -> list[str]:
    """Return MOUNT_ATTR_* bits as the words of mount(8)."""
    return [word for bit, word in _ATTRIBUTES if attributes & bit]


def propagation_words(propagation: int) -> list[str]:
    """Return an MS_* value of propagation as the word of mount(8), none for 0."""
    return [word for bit, word in _PROPAGATION if propagation & bit]


TYPE_CHECKING = False
if TYPE_CHECKING:
    from pycontain.spec.hooks import Hook
    from pycontain.spec.ids import IDMapping


class Op(Record):
    """Base of all operations. ``spec_path`` is the JSON path of the config that asked for it ("" for a default)."""

    spec_path: str

    def describe(self) -> str:
        """Return what the operation does, in one line."""
        return f"{type(self).__name__} {', '.join(f'{k}={v!r}' for k, v in self.asdict().items() if k != 'spec_path')}"


# -- host stage: mounts as descriptors --------------------------------------------------------------------------


class OpenTree(Op):
    """Clone the mount at ``source``.

    ``attr_set`` / ``attr_clr`` are MOUNT_ATTR_* bits of this one mount, ``tree_set`` / ``tree_clr`` of all below as
    well. ``idmap`` shifts owners by the container's own mapping: "idmap" for this mount, "ridmap" for the tree.
    ``propagation`` is an MS_* value with MS_REC where recursive, or 0. With ``inside_pid`` the source is a path in the
    mount namespace of that process. ``within`` is "" or a directory above the source that no link in it may lead out
    of: containers write there. ``implied_clr`` are attributes to take away where they are not locked. ``maps`` are uid
    and gid mappings of this mount's own, empty for the container's.
    """

    name: str
    source: str
    recursive: bool = False
    attr_set: int = 0
    attr_clr: int = 0
    tree_set: int = 0
    tree_clr: int = 0
    idmap: str = ""
    propagation: int = 0
    inside_pid: int = 0
    within: str = ""
    implied_clr: int = 0
    maps: tuple[tuple[IDMapping, ...], tuple[IDMapping, ...]] = ((), ())

    @property
    def shared(self) -> bool:
        """Whether mounts made inside are to reach the host: then the tree stays in the host's peer group."""
        return bool(self.propagation & MS_SHARED)

    def describe(self) -> str:
        words = [f"clone the mount at {self.source}"]
        if self.inside_pid:
            words.append(f"as process {self.inside_pid} sees it")
        if self.recursive:
            words.append("recursively")
        if self.idmap:
            words.append("with shifted owners" + (" all through" if self.idmap == "ridmap" else ""))
        if self.maps[0]:
            words.append("by a mapping of its own")
        attributes = attribute_words(self.attr_set)
        attributes += [f"{word} all through" for word in attribute_words(self.tree_set)]
        cleared = self.attr_clr | self.implied_clr | self.tree_clr
        attributes += [f"not {word}" for word in attribute_words(cleared & ~self.attr_set)]
        attributes += propagation_words(self.propagation)
        return " ".join(words) + (f": {', '.join(attributes)}" if attributes else "")


class OpenDirectory(Op):
    """Open ``source`` as it is, as a lower layer: in a user namespace a mount with others below cannot be cloned."""

    name: str
    source: str

    def describe(self) -> str:
        return f"open {self.source}"


class Overlay(Op):
    """Mount an overlay. ``lowers`` are names of trees opened before; ``upper``/``work`` are directories or "".

    ``attach`` lists the names that must be attached in the runtime's own mount namespace first (kernels before 6.5
    take no detached lower). ``public_only`` mounts with the credentials of nobody, so that what is not readable by
    everybody on the host cannot be read through it, whoever asks (fs/overlayfs: access to layers is checked with
    the mounter's credentials). With ``memory_bytes`` upper and work lie in a tmpfs of that size instead.
    """

    name: str
    lowers: tuple[str, ...]
    upper: str = ""
    work: str = ""
    public_only: bool = False
    userxattr: bool = False
    memory_bytes: int = 0

    def describe(self) -> str:
        what = f"overlay {self.name}: lower {':'.join(self.lowers)}"
        if self.memory_bytes:
            what += f", upper in memory ({self.memory_bytes >> 20} MiB)"
        elif self.upper:
            what += f", upper {self.upper}"
        return what + (", only what everybody may read" if self.public_only else "")


class MaskLayer(Op):
    """Make a topmost lower layer that hides paths: ``empty`` directories as (path, mode), and ``absent`` names.

    ``links`` are symbolic links in it as (path, target).

    It is a small tmpfs, or lies in ``directory`` where the container's user may set no attributes on a tmpfs (user
    namespaces before Linux 6.6). Parents are plain directories, so that their other content shows through.
    """

    name: str
    empty: tuple[tuple[str, int], ...]
    absent: tuple[str, ...]
    directory: str = ""
    userxattr: bool = False
    links: tuple[tuple[str, str], ...] = ()

    def describe(self) -> str:
        return "hide " + " ".join([*(path for path, _ in self.empty), *self.absent])


class Device(Record):
    """A device node below /dev: ``kind`` is c, b or p; ``uid``/``gid`` are the container's ids."""

    path: str
    kind: str
    major: int
    minor: int
    mode: int = 0o666
    uid: int = 0
    gid: int = 0


class DevTree(Op):
    """Make the container's /dev: a tmpfs with nodes, links and mount points, owned by the container's root."""

    name: str
    devices: tuple[Device, ...]
    links: tuple[tuple[str, str], ...]
    directories: tuple[str, ...]
    options: tuple[tuple[str, str], ...] = ()
    attr_set: int = MOUNT_ATTR_NOSUID

    def describe(self) -> str:
        # that it is nosuid goes without saying
        words = ", ".join(attribute_words(self.attr_set & ~MOUNT_ATTR_NOSUID))
        return "make /dev with " + " ".join(device.path for device in self.devices) + (f": {words}" if words else "")


class NewFilesystem(Op):
    """Make a new instance of ``fstype``; ``options`` are (key, value) pairs, value "" for a flag.

    ``label`` is one of SELinux for its root, where the file system has no option for it.
    """

    name: str
    fstype: str
    source: str = ""
    options: tuple[tuple[str, str], ...] = ()
    attr_set: int = 0
    label: str = ""

    def describe(self) -> str:
        words = ",".join(f"{k}={v}" if v else k for k, v in self.options)
        attributes = ", ".join(attribute_words(self.attr_set))
        words = f" ({words})" if words else ""
        label = f" labelled {self.label}" if self.label else ""
        return f"new {self.fstype}{words}{label}" + (f": {attributes}" if attributes else "")


# -- init stage -------------------------------------------------------------------------------------------------


class SetHostname(Op):
    """Set the name of the UTS namespace."""

    name: str

    def describe(self) -> str:
        return f"set the host name to {self.name}"


class SetDomainname(Op):
    """Set the NIS domain name of the UTS namespace."""

    name: str

    def describe(self) -> str:
        return f"set the NIS domain name to {self.name}"


class LoopbackUp(Op):
    """Bring up the loopback interface of the network namespace."""

    def describe(self) -> str:
        return "bring the loopback interface up"


class AttachRoot(Op):
    """Attach the tree ``name`` as the coming root, at ``path`` of the old one; later paths are resolved below it."""

    name: str
    path: str = "/"

    def describe(self) -> str:
        return f"attach {self.name} as the new root" + (f" at {self.path}" if self.path != "/" else "")


class Attach(Op):
    """Attach the tree ``name`` at ``target`` below the new root, making the mount point where it is missing.

    ``inherit`` gives the root of a new file system the mode of the directory that it covers, ``copy_up`` all that is in
    it. ``propagation`` is an MS_* value with MS_REC where recursive, or 0. ``renew`` attaches a copy that is
    made now: the kernel lists mounts by when they were made (since Linux 6.8).
    """

    name: str
    target: str
    fresh: NewFilesystem | None = None
    inherit: bool = False
    copy_up: bool = False
    propagation: int = 0
    renew: bool = False

    def describe(self) -> str:
        what = self.fresh.describe() if self.fresh is not None else self.name
        words = [f"mount at {self.target}: {what}", *propagation_words(self.propagation)]
        if self.copy_up:
            words.append("with a copy of what it covers")
        elif self.inherit:
            words.append("with the mode of what it covers")
        return ", ".join(words)


class Remount(Op):
    """Change the mount at ``target``: with ``bind`` this mount alone, else its file system too.

    ``flags`` are MS_* flags and ``data`` words for the file system; ``attr_set`` and the like are as in OpenTree.
    """

    target: str
    bind: bool
    flags: int = 0
    data: str = ""
    attr_set: int = 0
    attr_clr: int = 0
    implied_clr: int = 0
    tree_set: int = 0
    tree_clr: int = 0
    propagation: int = 0

    def describe(self) -> str:
        words = attribute_words(self.attr_set) + [f"{word} all through" for word in attribute_words(self.tree_set)]
        cleared = (self.attr_clr | self.implied_clr | self.tree_clr) & ~self.attr_set
        words += [f"not {word}" for word in attribute_words(cleared)]
        words += propagation_words(self.propagation) + ([self.data] if self.data else [])
        return f"change the {'mount' if self.bind else 'file system'} at {self.target}: {', '.join(words)}"


class MakeNodes(Op):
    """Make device nodes and links in the root, by absolute paths; one that is there has to be the same device."""

    devices: tuple[Device, ...]
    links: tuple[tuple[str, str], ...] = ()

    def describe(self) -> str:
        return "make " + " ".join([*(device.path for device in self.devices), *(path for path, _ in self.links)])


class Console(Op):
    """Open a pseudo-terminal in the container's devpts, bind it to /dev/console, hand its master out."""

    rows: int = 0
    columns: int = 0

    def describe(self) -> str:
        return "open the terminal and bind it to /dev/console"


class MaskPaths(Op):
    """Hide paths: files behind the host's /dev/null (verified), directories behind an empty read-only tmpfs.

    ``options`` are more options of that tmpfs.
    """

    paths: tuple[str, ...]
    options: tuple[tuple[str, str], ...] = ()

    def describe(self) -> str:
        return "mask " + " ".join(self.paths)


class ReadonlyPaths(Op):
    """Make paths read-only, with all that is mounted below them."""

    paths: tuple[str, ...]

    def describe(self) -> str:
        return "make read-only " + " ".join(self.paths)


class ReadonlyMount(Op):
    """Make the mount at a path read-only, that one alone: what is mounted below keeps its own flags."""

    path: str

    def describe(self) -> str:
        return f"make the mount at {self.path} read-only"


class Sysctl(Op):
    """Write a kernel parameter of one of the container's namespaces."""

    key: str
    value: str

    def describe(self) -> str:
        return f"set sysctl {self.key} = {self.value}"


class EnterRoot(Op):
    """Take a directory as it is for the coming root: the container stays in the runtime's mount namespace."""

    path: str

    def describe(self) -> str:
        return f"take {self.path} as the new root, in the runtime's mount namespace"


class ChangeRoot(Op):
    """Make the new root the root of this process, as chroot(2) does."""

    def describe(self) -> str:
        return "change to the new root"


class PivotRoot(Op):
    """Make the new root the root; ``propagation`` is an MS_* value or 0.

    Without ``pivot`` it is moved over the old one, which pivot_root(2) cannot leave where it is the initial ramdisk.
    """

    readonly: bool = False
    propagation: int = 0
    pivot: bool = True

    def describe(self) -> str:
        how = "pivot to the new root, drop the old one" if self.pivot else "move the new root over the old one"
        words = [how, *(["make it read-only"] if self.readonly else []), *propagation_words(self.propagation)]
        return ", ".join(words)


class MakeDirectory(Op):
    """Make a directory below the new root where it is missing, while the root can be written to."""

    path: str

    def describe(self) -> str:
        return f"make {self.path} where it is missing"


class AwaitHooks(Op):
    """Wait until the runtime has run the hooks that belong between the namespaces and pivot_root."""

    hooks: tuple[Hook, ...]

    def describe(self) -> str:
        return "the runtime runs " + " ".join(hook.path for hook in self.hooks)


class RunHooks(Op):
    """Run hooks in the container's namespaces, as the paths are outside."""

    hooks: tuple[Hook, ...]

    def describe(self) -> str:
        return "run " + " ".join(hook.path for hook in self.hooks)


class JoinKeyring(Op):
    """Join a session keyring of its own, so that the caller's keys are out of reach."""

    name: str

    def describe(self) -> str:
        return "join a new session keyring"
