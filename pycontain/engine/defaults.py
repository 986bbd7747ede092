"""Docker's defaults, each with its source. [lean]"""

from __future__ import annotations

# Source: moby/moby daemon/pkg/oci/defaults.go
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
MASKED_PATHS: tuple[str, ...] = (
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
)
READONLY_PATHS: tuple[str, ...] = (
    "/proc/bus",
    "/proc/fs",
    "/proc/irq",
    "/proc/sys",
    "/proc/sysrq-trigger",
)
UMASK = 0o022
# Tried, not demanded: a caller whose own is higher may be unable to lower it. Source: moby/moby daemon/oci_linux.go
OOM_SCORE = 0

# Source: container-selinux, container_contexts(5)
SELINUX = {
    "user": "system_u",
    "role": "system_r",
    "type": "container_t",
    "filetype": "container_file_t",
    "level": "s0",
}

# With ids that are the host's own these reach files that plain ownership no longer guards.
CAPS_BEYOND_FALLBACK = frozenset(("ALL", "SYS_ADMIN", "SYS_PTRACE", "DAC_READ_SEARCH", "SYS_RAWIO", "SYS_MODULE"))
