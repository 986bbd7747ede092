"""The options of ``run``, ``create`` and ``explain``, and of ``exec``, as tables. [lean]

An option stands here once it works; what is not here is refused.
"""

from __future__ import annotations

from pycontain.cli.table import flag, many, value

_LIFE = "Life"
_PROCESS = "Process"
_FILES = "Files and devices"
_LIMITS = "Limits"
_NETWORK = "Names and network"
_SAFETY = "Isolation"
_LOGS = "Logs and labels"

_TTY = (
    flag("--interactive -i", "keep standard input open", _LIFE),
    flag("--tty -t", "give it a terminal", _LIFE),
    value("--detach-keys", "KEYS", "leave an attached terminal with these keys [ctrl-p,ctrl-q]", _LIFE),
)
_ENVIRONMENT = (
    many("--env -e", "NAME[=VALUE]", "set a variable; a name alone takes the caller's value", _PROCESS),
    many("--env-file", "FILE", "read variables from a file", _PROCESS),
    value("--workdir -w", "DIR", "start in this directory [/]", _PROCESS),
    value("--user -u", "USER[:GROUP]", "run as this user, by name or number [root]", _PROCESS),
)

LIMIT_OPTIONS = (
    value("--memory -m", "SIZE", "memory", _LIMITS),
    value("--memory-swap", "SIZE", "memory and swap together, -1 without limit [twice the memory]", _LIMITS),
    value("--memory-reservation", "SIZE", "memory that is left to it when memory is short", _LIMITS),
    value("--cpus", "NUMBER", "CPUs it may use, for example 1.5", _LIMITS),
    value("--cpu-period", "MICROSECONDS", "length of a period of the CPU quota", _LIMITS),
    value("--cpu-quota", "MICROSECONDS", "CPU time in each period", _LIMITS),
    value("--cpu-shares -c", "NUMBER", "share of CPU time, 2 to 262144 [1024]", _LIMITS),
    value("--cpu-weight", "NUMBER", "share of CPU time on cgroup v2's scale, 1 to 10000 [100]", _LIMITS),
    value("--cpuset-cpus", "LIST", "CPUs it may run on, for example 0-3,7", _LIMITS),
    value("--cpuset-mems", "LIST", "memory nodes it may use", _LIMITS),
    value("--pids-limit", "NUMBER", "processes and threads, -1 without limit", _LIMITS),
    value("--blkio-weight", "NUMBER", "share of disk time, 10 to 1000", _LIMITS),
    many("--device-read-bps", "DEVICE:RATE", "bytes read per second", _LIMITS),
    many("--device-write-bps", "DEVICE:RATE", "bytes written per second", _LIMITS),
    many("--device-read-iops", "DEVICE:RATE", "reads per second", _LIMITS),
    many("--device-write-iops", "DEVICE:RATE", "writes per second", _LIMITS),
)
CREATE_OPTIONS = (
    *_TTY,
    flag("--rm", "remove the container when it ends", _LIFE),
    value("--name", "NAME", "its name [made up]", _LIFE),
    value("--cidfile", "FILE", "write the id to a new file", _LIFE),
    value("--pidfile", "FILE", "write the process id to a file", _LIFE),
    value("--stop-signal", "SIGNAL", "what stop sends first [TERM]", _LIFE),
    value("--stop-timeout", "SECONDS", "how long stop waits before it kills [10]", _LIFE),
    value("--timeout", "SECONDS", "kill it after this time", _LIFE),
    flag("--init", "run a small process 1 that reaps orphans", _LIFE),
    flag("--explain", "print what would be done and do nothing", _LIFE),
    value("--format", "FORMAT", "form of --explain: text or json [text]", _LIFE, ("text", "json")),
    *_ENVIRONMENT,
    value("--entrypoint", "PROGRAM", "put this before the command", _PROCESS),
    many("--group-add", "GROUP", "a further group", _PROCESS),
    value("--umask", "MASK", "its file mode mask, octal [0022]", _PROCESS),
    many("--ulimit", "NAME=SOFT[:HARD]", "a resource limit, for example nofile=1024:4096", _PROCESS),
    value("--oom-score-adj", "NUMBER", "how soon the kernel kills it when memory is short, -1000 to 1000", _PROCESS),
    value("--preserve-fds", "COUNT", "pass this many descriptors from 3 on", _PROCESS),
    many("--volume -v", "[SOURCE:]DIR[:OPTIONS]", "mount a host directory or a volume", _FILES),
    many("--mount", "KEY=VALUE,…", "mount type=bind, volume or tmpfs", _FILES),
    many("--tmpfs", "DIR[:OPTIONS]", "mount an empty tmpfs", _FILES),
    flag("--read-only", "make the root read-only", _FILES),
    flag("--writable", "write to ROOTFS itself, without a layer above", _FILES),
    many("--host-include", "PATH", "show this path, which @host leaves out", _FILES),
    value("--shm-size", "SIZE", "size of /dev/shm [64m]", _FILES),
    many("--device", "HOST[:CONTAINER][:rwm]", "give it a device", _FILES),
    many("--device-cgroup-rule", "RULE", "allow devices by number, for example 'c 10:229 rwm'", _FILES),
    *LIMIT_OPTIONS,
    value("--hostname -h", "NAME", "its host name [its id]", _NETWORK),
    value("--domainname", "NAME", "its NIS domain name", _NETWORK),
    value("--network --net", "MODE", "none, host, or container:NAME [none]", _NETWORK, ("none", "host", "container:")),
    many("--add-host", "NAME:ADDRESS", "a line of /etc/hosts", _NETWORK),
    many("--dns", "ADDRESS", "a name server", _NETWORK),
    value("--userns", "MODE", "auto; auto,strict; host; keep-id; UID:GID:SIZE [auto]", _SAFETY),
    value("--pid", "MODE", "process ids: private, host, container:NAME [private]", _SAFETY),
    value("--ipc", "MODE", "the same of System V and POSIX IPC", _SAFETY),
    value("--uts", "MODE", "the same of the host name", _SAFETY),
    value("--cgroupns", "MODE", "the same of the view of cgroups", _SAFETY),
    flag("--privileged", "all capabilities and devices, no filter, no user namespace", _SAFETY),
    many("--cap-add", "NAME", "a further capability, or ALL", _SAFETY),
    many("--cap-drop", "NAME", "a capability to take away, or ALL", _SAFETY),
    many("--security-opt", "KEY[=VALUE]", "no-new-privileges, seccomp, apparmor, label, mask, unmask", _SAFETY),
    many("--sysctl", "KEY=VALUE", "a kernel setting of its namespaces", _SAFETY),
    many("--time-offset", "[CLOCK=]DURATION", "shift monotonic and boot time, for example boottime=1h", _SAFETY),
    value("--log-driver", "NAME", "json-file or none [json-file]", _LOGS, ("json-file", "none")),
    many("--log-opt", "KEY=VALUE", "max-size and max-file", _LOGS, ("max-size=", "max-file=")),
    many("--label -l", "KEY[=VALUE]", "a label", _LOGS),
    many("--label-file", "FILE", "read labels from a file", _LOGS),
    many("--annotation", "KEY[=VALUE]", "an annotation of the configuration", _LOGS),
)
RUN_OPTIONS = (
    flag("--detach -d", "run in the background and print the id", _LIFE),
    many("--attach -a", "STREAM", "attach stdin, stdout or stderr", _LIFE, ("stdin", "stdout", "stderr")),
    flag("--sig-proxy", "pass signals on [true]", _LIFE),
    *CREATE_OPTIONS,
)
EXEC_OPTIONS = (
    flag("--detach -d", "run in the background", _LIFE),
    *_TTY,
    *_ENVIRONMENT,
    flag("--privileged", "all capabilities, no filter", _SAFETY),
)
