"""cgroupspy, which has no types, as type checkers shall see it: the classes we build on. Not for the start path."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pycontain.cgroups.directory import Directory

    class BaseFileInterface:
        """A descriptor for one interface file."""

        filename: bytes
        readonly: bool
        writeonly: bool

        def __init__(self, filename: str, readonly: bool | None = None, writeonly: bool | None = None) -> None: ...
        def __get__(self, instance: Any, owner: Any) -> Any: ...
        def __set__(self, instance: Any, value: Any) -> None: ...
        def sanitize_get(self, value: str) -> Any: ...
        def sanitize_set(self, value: Any) -> Any: ...

    class IntegerFile(BaseFileInterface):
        """One number."""

    class FlagFile(BaseFileInterface):
        """0 or 1."""

    class DictFile(BaseFileInterface):
        """Lines of a word and a number."""

    class CommaDashSetFile(BaseFileInterface):
        """A list such as ``0-3,7``."""

    class MultiLineIntegerFile(BaseFileInterface):
        """One number per line."""

    class TypedFile(BaseFileInterface):
        """Lines of one of cgroupspy's content types."""

        def __init__(self, filename: str, contenttype: type, *, many: bool = False) -> None: ...

    class DeviceThrottle:
        """``8:0 1048576``: a device and its rate."""

    class Controller:
        """The interface files that every cgroup of v1 has."""

        def __init__(self, node: Directory) -> None: ...

    class CpuController(Controller):
        """``cpu`` of cgroup v1."""

    class CpuAcctController(Controller):
        """``cpuacct`` of cgroup v1."""

    class CpuSetController(Controller):
        """``cpuset`` of cgroup v1."""

    class MemoryController(Controller):
        """``memory`` of cgroup v1."""

    class BlkIOController(Controller):
        """``blkio`` of cgroup v1."""

    class DevicesController(Controller):
        """``devices`` of cgroup v1."""

    class NetClsController(Controller):
        """``net_cls`` of cgroup v1."""

    class NetPrioController(Controller):
        """``net_prio`` of cgroup v1."""
else:
    from cgroupspy.contenttypes import DeviceThrottle
    from cgroupspy.controllers import (
        BlkIOController,
        Controller,
        CpuAcctController,
        CpuController,
        CpuSetController,
        DevicesController,
        MemoryController,
        NetClsController,
        NetPrioController,
    )
    from cgroupspy.interfaces import (
        BaseFileInterface,
        CommaDashSetFile,
        DictFile,
        FlagFile,
        IntegerFile,
        MultiLineIntegerFile,
        TypedFile,
    )

__all__ = [
    "BaseFileInterface",
    "BlkIOController",
    "CommaDashSetFile",
    "Controller",
    "CpuAcctController",
    "CpuController",
    "CpuSetController",
    "DeviceThrottle",
    "DevicesController",
    "DictFile",
    "FlagFile",
    "IntegerFile",
    "MemoryController",
    "MultiLineIntegerFile",
    "NetClsController",
    "NetPrioController",
    "TypedFile",
]
