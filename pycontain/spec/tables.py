"""The properties of config.json, one table per object: attribute, key, kind, whether it is required.

[lean]

Source: config.md and config-linux.md of the runtime specification 1.3.0. What must hold *between* values is in
:mod:`pycontain.spec.rules`.
"""

from __future__ import annotations

from pycontain.spec import hooks, ids, linux, mounts, process, resources, root, runtime, seccomp
from pycontain.spec.kinds import (
    ALWAYS,
    BOOLEAN,
    INT32,
    INT64,
    NAME,
    OPTIONAL,
    REQUIRED,
    STRINGS,
    TEXT,
    UINT16,
    UINT32,
    UINT64,
    Array,
    Choice,
    Map,
    Table,
)

_STRING_MAP = Map(TEXT)

ID_MAPPING = Table(
    ids.IDMapping,
    (
        ("container_id", "containerID", UINT32, REQUIRED),
        ("host_id", "hostID", UINT32, REQUIRED),
        ("size", "size", UINT32, REQUIRED),
    ),
)

ROOT = Table(
    root.Root,
    (
        ("path", "path", TEXT, REQUIRED),
        ("readonly", "readonly", BOOLEAN, OPTIONAL),
    ),
)

MOUNT = Table(
    mounts.Mount,
    (
        ("destination", "destination", TEXT, REQUIRED),
        ("type", "type", NAME, OPTIONAL),
        ("source", "source", NAME, OPTIONAL),
        ("options", "options", STRINGS, OPTIONAL),
        ("uid_mappings", "uidMappings", Array(ID_MAPPING), OPTIONAL),
        ("gid_mappings", "gidMappings", Array(ID_MAPPING), OPTIONAL),
    ),
)

# ---- process

CONSOLE_SIZE = Table(
    process.ConsoleSize,
    (
        ("height", "height", UINT64, REQUIRED),
        ("width", "width", UINT64, REQUIRED),
    ),
)

USER = Table(
    process.User,
    (
        ("uid", "uid", UINT32, REQUIRED),
        ("gid", "gid", UINT32, REQUIRED),
        ("umask", "umask", UINT32, OPTIONAL),
        ("additional_gids", "additionalGids", Array(UINT32), OPTIONAL),
        ("username", "username", NAME, OPTIONAL),
    ),
)

CAPABILITIES = Table(
    process.Capabilities,
    (
        ("bounding", "bounding", STRINGS, OPTIONAL),
        ("effective", "effective", STRINGS, OPTIONAL),
        ("inheritable", "inheritable", STRINGS, OPTIONAL),
        ("permitted", "permitted", STRINGS, OPTIONAL),
        ("ambient", "ambient", STRINGS, OPTIONAL),
    ),
)

RLIMIT = Table(
    process.Rlimit,
    (
        ("type", "type", Choice(process.RLIMITS), REQUIRED),
        ("soft", "soft", UINT64, REQUIRED),
        ("hard", "hard", UINT64, REQUIRED),
    ),
)

SCHEDULER = Table(
    process.Scheduler,
    (
        ("policy", "policy", Choice(process.SCHEDULER_POLICIES), REQUIRED),
        ("nice", "nice", INT32, OPTIONAL),
        ("priority", "priority", INT32, OPTIONAL),
        ("flags", "flags", Array(Choice(process.SCHEDULER_FLAGS)), OPTIONAL),
        ("runtime", "runtime", UINT64, OPTIONAL),
        ("deadline", "deadline", UINT64, OPTIONAL),
        ("period", "period", UINT64, OPTIONAL),
    ),
)

IO_PRIORITY = Table(
    process.IOPriority,
    (
        ("io_class", "class", Choice(process.IO_CLASSES), REQUIRED),
        ("priority", "priority", INT32, REQUIRED),
    ),
)

CPU_AFFINITY = Table(
    process.CPUAffinity,
    (
        ("initial", "initial", NAME, OPTIONAL),
        ("final", "final", NAME, OPTIONAL),
    ),
)

PROCESS = Table(
    process.Process,
    (
        ("terminal", "terminal", BOOLEAN, OPTIONAL),
        ("console_size", "consoleSize", CONSOLE_SIZE, OPTIONAL),
        ("user", "user", USER, ALWAYS),
        ("args", "args", STRINGS, OPTIONAL),
        ("env", "env", STRINGS, OPTIONAL),
        ("cwd", "cwd", TEXT, REQUIRED),
        ("capabilities", "capabilities", CAPABILITIES, OPTIONAL),
        ("rlimits", "rlimits", Array(RLIMIT), OPTIONAL),
        ("no_new_privileges", "noNewPrivileges", BOOLEAN, OPTIONAL),
        ("apparmor_profile", "apparmorProfile", NAME, OPTIONAL),
        ("selinux_label", "selinuxLabel", NAME, OPTIONAL),
        ("oom_score_adj", "oomScoreAdj", INT32, OPTIONAL),
        ("scheduler", "scheduler", SCHEDULER, OPTIONAL),
        ("io_priority", "ioPriority", IO_PRIORITY, OPTIONAL),
        ("exec_cpu_affinity", "execCPUAffinity", CPU_AFFINITY, OPTIONAL),
    ),
    ignored={"commandLine": "is for Windows, ignored"},
)

# ---- hooks

HOOK = Table(
    hooks.Hook,
    (
        ("path", "path", TEXT, REQUIRED),
        ("args", "args", STRINGS, OPTIONAL),
        ("env", "env", STRINGS, OPTIONAL),
        ("timeout", "timeout", INT64, OPTIONAL),
    ),
)

HOOKS = Table(
    hooks.Hooks,
    (
        ("prestart", "prestart", Array(HOOK), OPTIONAL),
        ("create_runtime", "createRuntime", Array(HOOK), OPTIONAL),
        ("create_container", "createContainer", Array(HOOK), OPTIONAL),
        ("start_container", "startContainer", Array(HOOK), OPTIONAL),
        ("poststart", "poststart", Array(HOOK), OPTIONAL),
        ("poststop", "poststop", Array(HOOK), OPTIONAL),
    ),
)

# ---- linux.resources

DEVICE_RULE = Table(
    resources.DeviceRule,
    (
        ("allow", "allow", BOOLEAN, REQUIRED),
        ("type", "type", Choice(("a", "c", "b"), may_be_absent=True), ALWAYS),
        ("major", "major", INT64, OPTIONAL),
        ("minor", "minor", INT64, OPTIONAL),
        ("access", "access", NAME, ALWAYS),
    ),
)

MEMORY = Table(
    resources.Memory,
    (
        ("limit", "limit", INT64, OPTIONAL),
        ("reservation", "reservation", INT64, OPTIONAL),
        ("swap", "swap", INT64, OPTIONAL),
        ("kernel", "kernel", INT64, OPTIONAL),
        ("kernel_tcp", "kernelTCP", INT64, OPTIONAL),
        ("swappiness", "swappiness", UINT64, OPTIONAL),
        ("disable_oom_killer", "disableOOMKiller", BOOLEAN, OPTIONAL),
        ("use_hierarchy", "useHierarchy", BOOLEAN, OPTIONAL),
        ("check_before_update", "checkBeforeUpdate", BOOLEAN, OPTIONAL),
    ),
)

CPU = Table(
    resources.Cpu,
    (
        ("shares", "shares", UINT64, OPTIONAL),
        ("quota", "quota", INT64, OPTIONAL),
        ("burst", "burst", UINT64, OPTIONAL),
        ("period", "period", UINT64, OPTIONAL),
        ("realtime_runtime", "realtimeRuntime", INT64, OPTIONAL),
        ("realtime_period", "realtimePeriod", UINT64, OPTIONAL),
        ("cpus", "cpus", TEXT, OPTIONAL),
        ("mems", "mems", TEXT, OPTIONAL),
        ("idle", "idle", INT64, OPTIONAL),
    ),
)

PIDS = Table(resources.Pids, (("limit", "limit", INT64, OPTIONAL),))

WEIGHT_DEVICE = Table(
    resources.WeightDevice,
    (
        ("major", "major", INT64, REQUIRED),
        ("minor", "minor", INT64, REQUIRED),
        ("weight", "weight", UINT16, OPTIONAL),
        ("leaf_weight", "leafWeight", UINT16, OPTIONAL),
    ),
)

THROTTLE_DEVICE = Table(
    resources.ThrottleDevice,
    (
        ("major", "major", INT64, REQUIRED),
        ("minor", "minor", INT64, REQUIRED),
        ("rate", "rate", UINT64, REQUIRED),
    ),
)

BLOCK_IO = Table(
    resources.BlockIO,
    (
        ("weight", "weight", UINT16, OPTIONAL),
        ("leaf_weight", "leafWeight", UINT16, OPTIONAL),
        ("weight_device", "weightDevice", Array(WEIGHT_DEVICE), OPTIONAL),
        ("throttle_read_bps_device", "throttleReadBpsDevice", Array(THROTTLE_DEVICE), OPTIONAL),
        ("throttle_write_bps_device", "throttleWriteBpsDevice", Array(THROTTLE_DEVICE), OPTIONAL),
        ("throttle_read_iops_device", "throttleReadIOPSDevice", Array(THROTTLE_DEVICE), OPTIONAL),
        ("throttle_write_iops_device", "throttleWriteIOPSDevice", Array(THROTTLE_DEVICE), OPTIONAL),
    ),
)

HUGEPAGE_LIMIT = Table(
    resources.HugepageLimit,
    (
        ("page_size", "pageSize", TEXT, REQUIRED),
        ("limit", "limit", UINT64, REQUIRED),
    ),
)

INTERFACE_PRIORITY = Table(
    resources.InterfacePriority,
    (
        ("name", "name", TEXT, REQUIRED),
        ("priority", "priority", UINT32, REQUIRED),
    ),
)

NETWORK = Table(
    resources.Network,
    (
        ("class_id", "classID", UINT32, OPTIONAL),
        ("priorities", "priorities", Array(INTERFACE_PRIORITY), OPTIONAL),
    ),
)

RDMA = Table(
    resources.Rdma,
    (
        ("hca_handles", "hcaHandles", UINT32, OPTIONAL),
        ("hca_objects", "hcaObjects", UINT32, OPTIONAL),
    ),
)

RESOURCES = Table(
    resources.LinuxResources,
    (
        ("devices", "devices", Array(DEVICE_RULE), OPTIONAL),
        ("memory", "memory", MEMORY, OPTIONAL),
        ("cpu", "cpu", CPU, OPTIONAL),
        ("pids", "pids", PIDS, OPTIONAL),
        ("block_io", "blockIO", BLOCK_IO, OPTIONAL),
        ("hugepage_limits", "hugepageLimits", Array(HUGEPAGE_LIMIT), OPTIONAL),
        ("network", "network", NETWORK, OPTIONAL),
        ("rdma", "rdma", Map(RDMA), OPTIONAL),
        ("unified", "unified", _STRING_MAP, OPTIONAL),
    ),
)

# ---- linux.seccomp

SECCOMP_ARG = Table(
    seccomp.LinuxSeccompArg,
    (
        ("index", "index", UINT32, REQUIRED),
        ("value", "value", UINT64, REQUIRED),
        ("value_two", "valueTwo", UINT64, OPTIONAL),
        ("op", "op", Choice(seccomp.OPERATORS), REQUIRED),
    ),
)

SYSCALL = Table(
    seccomp.LinuxSyscall,
    (
        ("names", "names", STRINGS, REQUIRED),
        ("action", "action", Choice(seccomp.ACTIONS), REQUIRED),
        ("errno_ret", "errnoRet", UINT32, OPTIONAL),
        ("args", "args", Array(SECCOMP_ARG), OPTIONAL),
    ),
)

SECCOMP = Table(
    seccomp.LinuxSeccomp,
    (
        ("default_action", "defaultAction", Choice(seccomp.ACTIONS), REQUIRED),
        ("default_errno_ret", "defaultErrnoRet", UINT32, OPTIONAL),
        ("architectures", "architectures", Array(Choice(seccomp.ARCHITECTURES)), OPTIONAL),
        ("flags", "flags", Array(Choice(seccomp.FLAGS)), OPTIONAL),
        ("listener_path", "listenerPath", TEXT, OPTIONAL),
        ("listener_metadata", "listenerMetadata", TEXT, OPTIONAL),
        ("syscalls", "syscalls", Array(SYSCALL), OPTIONAL),
    ),
)

# ---- linux

NAMESPACE = Table(
    linux.Namespace,
    (
        ("type", "type", Choice(linux.NAMESPACE_TYPES), REQUIRED),
        ("path", "path", NAME, OPTIONAL),
    ),
)

TIME_OFFSET = Table(
    linux.TimeOffset,
    (
        ("secs", "secs", INT64, OPTIONAL),
        ("nanosecs", "nanosecs", UINT32, OPTIONAL),
    ),
)

DEVICE = Table(
    linux.Device,
    (
        ("path", "path", TEXT, REQUIRED),
        ("type", "type", Choice(linux.DEVICE_TYPES), REQUIRED),
        ("major", "major", INT64, OPTIONAL),
        ("minor", "minor", INT64, OPTIONAL),
        ("file_mode", "fileMode", UINT32, OPTIONAL),
        ("uid", "uid", UINT32, OPTIONAL),
        ("gid", "gid", UINT32, OPTIONAL),
    ),
)

NET_DEVICE = Table(linux.NetDevice, (("name", "name", NAME, OPTIONAL),))

INTEL_RDT = Table(
    linux.IntelRdt,
    (
        ("clos_id", "closID", NAME, OPTIONAL),
        ("l3_cache_schema", "l3CacheSchema", NAME, OPTIONAL),
        ("mem_bw_schema", "memBwSchema", NAME, OPTIONAL),
        ("schemata", "schemata", STRINGS, OPTIONAL),
        ("enable_monitoring", "enableMonitoring", BOOLEAN, OPTIONAL),
    ),
    ignored={
        "enableCMT": "was replaced by enableMonitoring in 1.3.0, ignored",
        "enableMBM": "was replaced by enableMonitoring in 1.3.0, ignored",
    },
)

MEMORY_POLICY = Table(
    linux.MemoryPolicy,
    (
        ("mode", "mode", Choice(linux.MEMORY_POLICY_MODES), REQUIRED),
        ("nodes", "nodes", NAME, OPTIONAL),
        ("flags", "flags", Array(Choice(linux.MEMORY_POLICY_FLAGS)), OPTIONAL),
    ),
)

PERSONALITY = Table(
    linux.Personality,
    (
        ("domain", "domain", Choice(linux.PERSONALITY_DOMAINS), REQUIRED),
        ("flags", "flags", STRINGS, OPTIONAL),
    ),
)

LINUX = Table(
    linux.Linux,
    (
        ("namespaces", "namespaces", Array(NAMESPACE), OPTIONAL),
        ("uid_mappings", "uidMappings", Array(ID_MAPPING), OPTIONAL),
        ("gid_mappings", "gidMappings", Array(ID_MAPPING), OPTIONAL),
        ("time_offsets", "timeOffsets", Map(TIME_OFFSET), OPTIONAL),
        ("devices", "devices", Array(DEVICE), OPTIONAL),
        ("net_devices", "netDevices", Map(NET_DEVICE), OPTIONAL),
        ("cgroups_path", "cgroupsPath", NAME, OPTIONAL),
        ("resources", "resources", RESOURCES, OPTIONAL),
        ("rootfs_propagation", "rootfsPropagation", Choice(linux.PROPAGATIONS, may_be_absent=True), OPTIONAL),
        ("seccomp", "seccomp", SECCOMP, OPTIONAL),
        ("sysctl", "sysctl", _STRING_MAP, OPTIONAL),
        ("masked_paths", "maskedPaths", STRINGS, OPTIONAL),
        ("readonly_paths", "readonlyPaths", STRINGS, OPTIONAL),
        ("mount_label", "mountLabel", NAME, OPTIONAL),
        ("personality", "personality", PERSONALITY, OPTIONAL),
        ("intel_rdt", "intelRdt", INTEL_RDT, OPTIONAL),
        ("memory_policy", "memoryPolicy", MEMORY_POLICY, OPTIONAL),
    ),
)

SPEC = Table(
    runtime.Spec,
    (
        ("oci_version", "ociVersion", TEXT, REQUIRED),
        ("root", "root", ROOT, REQUIRED),
        ("process", "process", PROCESS, OPTIONAL),
        ("hostname", "hostname", NAME, OPTIONAL),
        ("domainname", "domainname", NAME, OPTIONAL),
        ("mounts", "mounts", Array(MOUNT), OPTIONAL),
        ("hooks", "hooks", HOOKS, OPTIONAL),
        ("annotations", "annotations", _STRING_MAP, OPTIONAL),
        ("linux", "linux", LINUX, OPTIONAL),
    ),
    ignored=dict.fromkeys(("freebsd", "solaris", "vm", "windows", "zos"), "is for another platform, ignored"),
)
