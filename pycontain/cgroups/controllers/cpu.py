"""Share of processor time. [lean]

``shares`` (2 to 262144, 1024 by default) become a weight of cgroup v2 (1 to 10000, 100 by default) by the formula that
runc uses since 1.3.2, a quadratic function through the three pairs::

    l = log2(shares);  weight = ceil(10 ** ((l² + 125 l) / 612 - 7 / 34))

Source: config-linux.md#cpu; cgroup-v2.rst "CPU"; sched-bwc.rst; https://github.com/opencontainers/runc/pull/4785
"""

from __future__ import annotations

from pycontain.cgroups.setting import Setting
from pycontain.errors import HostError, SpecError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pycontain.spec.resources import Cpu, LinuxResources

_PATH = "linux.resources.cpu"
_LEAST_SHARES, _MOST_SHARES = 2, 1 << 18
# kernel/sched/core.c: min_cfs_quota_period and max_cfs_quota_period, in microseconds
_LEAST_US, _MOST_PERIOD_US = 1_000, 1_000_000
DEFAULT_PERIOD_US = 100_000


def v2(resources: LinuxResources) -> tuple[Setting, ...]:
    """Return the settings of cgroup v2.

    A period alone leaves the quota unlimited: :meth:`Cgroup.update` puts the present quota beside it first.
    """
    cpu = resources.cpu
    if cpu is None:
        return ()
    _check(cpu)
    for key, value in (("realtimeRuntime", cpu.realtime_runtime), ("realtimePeriod", cpu.realtime_period)):
        if value:
            raise HostError(
                f"cpu.{key}: cgroup v2 has no realtime bandwidth",
                requirement="cgroup v1: cpu",
                hint="boot with systemd.unified_cgroup_hierarchy=0, or leave it out",
            )
    found = []
    # an idle group takes no weight: leave idleness first, enter it last
    if cpu.idle == 0:
        found.append(_setting("cpu.idle", "0", "idle", optional=True))
    if cpu.shares:
        found.append(_setting("cpu.weight", str(shares_to_weight(cpu.shares)), "shares"))
    if cpu.idle:
        found.append(_setting("cpu.idle", str(cpu.idle), "idle"))
    if cpu.quota or cpu.period:
        quota = str(cpu.quota) if cpu.quota and cpu.quota > 0 else "max"
        # without a period the kernel keeps the present one
        bandwidth = f"{quota} {cpu.period}" if cpu.period else quota
        found.append(_setting("cpu.max", bandwidth, "quota" if cpu.quota else "period"))
    if cpu.burst is not None:
        found.append(_setting("cpu.max.burst", str(cpu.burst), "burst", optional=cpu.burst == 0))
    return tuple(found)


def v1(resources: LinuxResources) -> tuple[Setting, ...]:
    """Return the settings of cgroup v1."""
    cpu = resources.cpu
    if cpu is None:
        return ()
    _check(cpu)
    found = []
    if cpu.idle == 0:
        found.append(_setting("cpu.idle", "0", "idle", optional=True))
    for file, value, key in (
        ("cpu.shares", cpu.shares, "shares"),
        ("cpu.cfs_period_us", cpu.period, "period"),
        ("cpu.cfs_quota_us", cpu.quota, "quota"),
        ("cpu.rt_period_us", cpu.realtime_period, "realtimePeriod"),
        ("cpu.rt_runtime_us", cpu.realtime_runtime, "realtimeRuntime"),
    ):
        if value:
            found.append(_setting(file, str(value), key))
    if cpu.burst is not None:
        found.append(_setting("cpu.cfs_burst_us", str(cpu.burst), "burst", optional=cpu.burst == 0))
    if cpu.idle:
        found.append(_setting("cpu.idle", str(cpu.idle), "idle"))
    return tuple(found)


def shares_to_weight(shares: int) -> int:
    """Return the weight of cgroup v2 for shares of cgroup v1."""
    if shares <= _LEAST_SHARES:
        return 1
    if shares >= _MOST_SHARES:
        return 10_000
    import math  # built in, but few starts need it

    log = math.log2(shares)
    return math.ceil(10 ** ((log * log + 125 * log) / 612 - 7 / 34))


def _check(cpu: Cpu) -> None:
    """Raise SpecError for values that every kernel refuses with a bare "invalid argument"."""
    if cpu.shares is not None and cpu.shares < 0:
        raise SpecError(f"{_PATH}.shares", f"{cpu.shares} is negative")
    if cpu.quota and 0 < cpu.quota < _LEAST_US:
        raise SpecError(f"{_PATH}.quota", f"{cpu.quota} is less than the kernel's least, {_LEAST_US} (1 ms)")
    if cpu.period and not _LEAST_US <= cpu.period <= _MOST_PERIOD_US:
        raise SpecError(f"{_PATH}.period", f"{cpu.period} is not between {_LEAST_US} and {_MOST_PERIOD_US}")
    if cpu.idle not in (None, 0, 1):
        raise SpecError(f"{_PATH}.idle", f"{cpu.idle} is neither 0 nor 1")
    if cpu.burst is not None and (cpu.burst < 0 or (cpu.quota and 0 < cpu.quota < cpu.burst)):
        raise SpecError(f"{_PATH}.burst", f"{cpu.burst} is not between 0 and the quota")


def _setting(file: str, value: str, key: str, *, optional: bool = False) -> Setting:
    return Setting("cpu", file, value, f"{_PATH}.{key}", optional=optional)
