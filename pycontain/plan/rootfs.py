"""Where a container's root file system comes from, as data; compile turns it into operations."""

from __future__ import annotations

from pycontain.record import Record

DIRECTORY = "directory"
HOST = "host"
HOST_PUBLIC = "host-public"


class SystemMount(Record):
    """One host directory that carries the system: its overlay is attached at ``target`` inside the container's root.

    ``nested`` tells that other mounts lie below it.
    """

    path: str
    target: str
    nested: bool = False


class RootSource(Record):
    """The root file system that a user asked for.

    ``kind`` is DIRECTORY, HOST (``@host``) or HOST_PUBLIC (``@host:public``). ``path`` is absolute ("/" for the
    host). ``writable`` uses the directory itself without an overlay. ``overlay`` is the container's own
    directory: each overlay of the container has a directory there with ``upper`` and ``work``. ``include`` names
    host paths that are left out by default and are wanted back; they come read-only. With ``memory_bytes`` the layers
    lie in memory, in a tmpfs of that size each, because the directory's file system can hold none. ``mounts`` get an
    overlay each; without privilege on the host they are all of the root, and ``links`` are its symbolic links as
    (name, target). ``mounted_at`` is where the root is attached until it becomes "/": hooks of the container look for
    it at its place on the host. ``propagation`` is that of a directory that is used itself, an MS_* value or 0.
    Without ``pivot`` it is moved over the old one.
    """

    kind: str
    path: str
    overlay: str = ""
    writable: bool = False
    include: tuple[str, ...] = ()
    mounts: tuple[SystemMount, ...] = ()
    links: tuple[tuple[str, str], ...] = ()
    memory_bytes: int = 0
    mounted_at: str = "/"
    propagation: int = 0
    pivot: bool = True
