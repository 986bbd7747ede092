"""Control groups: where a container's processes live, what they may use, what they have used.

::

    layout     which hierarchies there are and where (pure)      host    the same, read from this host
    setting    "write this value into that file" as data         directory   one cgroup directory, by descriptor
    controllers/*   linux.resources → settings, one controller per file, both generations (pure)
    tree       making and removing directories, subtree_control  devices  the device program, or devices.allow
    cgroup     the object that the rest of pycontain uses: one container in all hierarchies
    schema     interface files as cgroupspy descriptors          stats, update   what has time to import that
    systemd    a delegated scope instead of a directory of our own

Modules of the start path ([lean] in their docstring) never import ``schema``.
"""
