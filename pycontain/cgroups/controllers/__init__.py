"""One controller per file: what its part of ``linux.resources`` means as settings of cgroup v1 and of cgroup v2. Pure.

Each module has ``v1(resources)`` and ``v2(resources)``, both returning a tuple of
:class:`~pycontain.cgroups.setting.Setting`; what one generation cannot express raises ``HostError``, what no kernel
would take raises ``SpecError``. [lean]
"""
