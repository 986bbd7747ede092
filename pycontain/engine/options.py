"""What ``run``, ``create`` and ``exec`` can be told, parsed and typed. [lean]

::

    argv ── click ──► texts by option ── run_options ──► RunOptions ── generate ──► Spec

Values are judged by themselves and against each other here; what needs the host or the root file system is judged in
:mod:`pycontain.engine.generate`. Every error is a UsageError that names the option and the value.
"""

from __future__ import annotations

from pycontain import sizes
from pycontain.engine import envfile, limits, mountargs, namespaces, netfiles, security, signals
from pycontain.engine.capabilities import parse_name
from pycontain.engine.deviceargs import DeviceArg, DeviceRule, parse_device, parse_device_rule
from pycontain.engine.limits import Limits, Ulimit
from pycontain.engine.mountargs import VolumeMount
from pycontain.engine.names import check_container_name
from pycontain.engine.security import SecurityOptions
from pycontain.errors import UsageError
from pycontain.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

STREAMS = ("stdin", "stdout", "stderr")
JSON_FILE = "json-file"
LOG_NONE = "none"
EXPLAIN_FORMATS = ("text", "json")
DEFAULT_SHM_BYTES = 64 << 20
DEFAULT_STOP_TIMEOUT_S = 10


class LogOptions(Record):
    """``driver`` is :data:`JSON_FILE` or :data:`LOG_NONE`; ``max_size`` is bytes, -1 without limit."""

    driver: str = JSON_FILE
    max_size: int = -1
    max_file: int = 1


class RunOptions(Record):
    """Everything that ``run`` and ``create`` can be told.

    ``rootfs`` is as given (a directory, ``@host``, ``@host:public``); ``command`` what follows it. ``name`` "" is to be
    made up. ``attach`` is empty where ``-a`` was not given. ``env`` holds ``K=V`` in order; a name alone removes a
    default. ``umask`` None is 022. ``stop_timeout_s`` -1 waits for ever; ``timeout_s`` 0 is none. ``userns`` "" is not
    given. ``time_offsets`` are (clock, nanoseconds). ``shm_size`` None is not given.
    """

    rootfs: str
    command: tuple[str, ...] = ()
    name: str = ""
    detach: bool = False
    interactive: bool = False
    tty: bool = False
    attach: tuple[str, ...] = ()
    remove: bool = False
    explain: bool = False
    explain_format: str = "text"
    cidfile: str = ""
    pidfile: str = ""
    sig_proxy: bool = True
    detach_keys: bytes = signals.DEFAULT_DETACH_KEYS
    preserve_fds: int = 0
    stop_signal: int = 15
    stop_timeout_s: int = DEFAULT_STOP_TIMEOUT_S
    timeout_s: int = 0
    log: LogOptions = LogOptions()
    labels: dict[str, str] = {}  # noqa: RUF012  (records are never mutated)
    annotations: dict[str, str] = {}  # noqa: RUF012

    entrypoint: str | None = None
    env: tuple[str, ...] = ()
    workdir: str = ""
    user: str = ""
    group_add: tuple[str, ...] = ()
    umask: int | None = None
    init: bool = False
    ulimits: tuple[Ulimit, ...] = ()
    oom_score_adj: int | None = None

    readonly: bool = False
    writable: bool = False
    host_include: tuple[str, ...] = ()
    mounts: tuple[VolumeMount, ...] = ()
    shm_size: int | None = None
    devices: tuple[DeviceArg, ...] = ()
    device_rules: tuple[DeviceRule, ...] = ()
    limits: Limits = Limits()

    hostname: str = ""
    domainname: str = ""
    add_hosts: tuple[tuple[str, str], ...] = ()
    dns: tuple[str, ...] = ()
    sysctls: dict[str, str] = {}  # noqa: RUF012

    privileged: bool = False
    cap_add: tuple[str, ...] = ()
    cap_drop: tuple[str, ...] = ()
    security: SecurityOptions = SecurityOptions()
    userns: str = ""
    pid: str = namespaces.PRIVATE
    ipc: str = namespaces.PRIVATE
    uts: str = namespaces.PRIVATE
    cgroupns: str = namespaces.PRIVATE
    network: str = namespaces.NONE
    time_offsets: tuple[tuple[str, int], ...] = ()


class ExecOptions(Record):
    """Everything that ``exec`` can be told; ``env``, ``user`` and ``workdir`` as in :class:`RunOptions`."""

    container: str
    command: tuple[str, ...]
    detach: bool = False
    interactive: bool = False
    tty: bool = False
    env: tuple[str, ...] = ()
    workdir: str = ""
    user: str = ""
    privileged: bool = False
    detach_keys: bytes = signals.DEFAULT_DETACH_KEYS


def run_options(raw: Mapping[str, Any], environ: Mapping[str, str]) -> RunOptions:
    """Return the options from their texts.

    ``raw`` is keyed by option in snake_case (``memory_swap``), ``rootfs`` and ``command``; values are texts, tuples of
    texts where an option may be repeated, booleans for switches; None and missing ones are "not given".

    Raises:
        UsageError: a value is wrong, or two contradict each other.
    """
    get = _Texts(raw)
    options = RunOptions(
        rootfs=get.text("rootfs"),
        command=get.many("command"),
        **_life(get),
        **_process(get, environ),
        **_files(get),
        **_confinement(get),
        limits=limits.parse_limit_options(raw),
    )
    _check_together(options)
    return options


class _Texts:
    """The options' texts, with "not given" told apart once; none holds a NUL, which ends a text for the kernel."""

    def __init__(self, raw: Mapping[str, Any]) -> None:
        self._raw = raw

    def text(self, name: str) -> str:
        return self.optional(name) or ""

    def optional(self, name: str) -> str | None:
        value = self._raw.get(name)
        return None if value is None else _without_nul(name, str(value))

    def many(self, name: str) -> tuple[str, ...]:
        return tuple(_without_nul(name, text) for text in self._raw.get(name) or ())

    def flag(self, name: str, default: bool = False) -> bool:
        value = self._raw.get(name)
        return default if value is None else bool(value)

    def integer(self, name: str, least: int, most: int, default: int) -> int:
        value = self._raw.get(name)
        return default if value is None else sizes.parse_integer(option_name(name), str(value), least, most)


def _without_nul(name: str, text: str) -> str:
    if "\0" in text:
        raise UsageError(f"{option_name(name)}: holds a NUL byte")
    return text


def option_name(name: str) -> str:
    """Return an option as users write it: ``memory_swap`` is ``--memory-swap``."""
    return "--" + name.replace("_", "-")


def _life(get: _Texts) -> dict[str, Any]:
    """How the container is started, watched, stopped and named."""
    attach = tuple(text.lower() for text in get.many("attach"))
    for stream in attach:
        if stream not in STREAMS:
            raise UsageError(f"--attach: {stream!r} is not a stream", hint="one of stdin, stdout, stderr")
    name, keys = get.text("name"), get.optional("detach_keys")
    stop_signal = get.text("stop_signal")
    return {
        "name": check_container_name("--name", name) if name or get.optional("name") is not None else "",
        "detach": get.flag("detach"),
        "interactive": get.flag("interactive"),
        "tty": get.flag("tty"),
        "attach": attach,
        "remove": get.flag("rm"),
        "explain": get.flag("explain"),
        "explain_format": _explain_format(get),
        "cidfile": get.text("cidfile"),
        "pidfile": get.text("pidfile"),
        "sig_proxy": get.flag("sig_proxy", True),
        "detach_keys": signals.DEFAULT_DETACH_KEYS
        if keys is None
        else signals.parse_detach_keys("--detach-keys", keys),
        "preserve_fds": get.integer("preserve_fds", 0, 1024, 0),
        "stop_signal": signals.parse_signal("--stop-signal", stop_signal) if stop_signal else 15,
        "stop_timeout_s": get.integer("stop_timeout", -1, 2**31 - 1, DEFAULT_STOP_TIMEOUT_S),
        "timeout_s": get.integer("timeout", 0, 2**31 - 1, 0),
        "log": _log(get.optional("log_driver"), get.many("log_opt")),
        "labels": envfile.parse_labels("--label", get.many("label_file"), get.many("label")),
        "annotations": envfile.parse_labels("--annotation", (), get.many("annotation")),
    }


def _explain_format(get: _Texts) -> str:
    form = get.optional("format")
    if form is None:
        return EXPLAIN_FORMATS[0]
    if not get.flag("explain"):
        raise UsageError("--format: is the form of --explain", hint="pycontain run --explain --format json …")
    if form not in EXPLAIN_FORMATS:
        raise UsageError(f"--format: {form!r} is unknown", hint="one of " + ", ".join(EXPLAIN_FORMATS))
    return form


def _process(get: _Texts, environ: Mapping[str, str]) -> dict[str, Any]:
    """The program, its user and what belongs to its process alone."""
    workdir, umask = get.text("workdir"), get.optional("umask")
    if get.optional("workdir") is not None and not workdir.startswith("/"):
        raise UsageError(f"--workdir: {workdir!r} is not an absolute path", hint="for example -w /srv")
    if umask is not None and (not umask or umask.strip("01234567") or len(umask) > 4 or int(umask, 8) > 0o777):
        raise UsageError(f"--umask: {umask!r} is not an octal mask", hint="for example --umask 0027")
    score = get.optional("oom_score_adj")
    ulimits = {one.name: one for one in map(limits.parse_ulimit, get.many("ulimit"))}
    return {
        "entrypoint": get.optional("entrypoint"),
        "env": envfile.parse_env(get.many("env_file"), get.many("env"), environ),
        "workdir": workdir,
        "user": get.text("user"),
        "group_add": get.many("group_add"),
        "umask": None if umask is None else int(umask, 8),
        "init": get.flag("init"),
        "ulimits": tuple(ulimits.values()),
        "oom_score_adj": None if score is None else sizes.parse_integer("--oom-score-adj", score, -1000, 1000),
    }


def _files(get: _Texts) -> dict[str, Any]:
    """Root, volumes, devices."""
    mounts = (
        *(mountargs.parse_volume(text) for text in get.many("volume")),
        *(mountargs.parse_mount(text) for text in get.many("mount")),
        *(mountargs.parse_tmpfs(text) for text in get.many("tmpfs")),
    )
    mountargs.check_destinations(mounts)
    shm = get.optional("shm_size")
    size = None if shm is None else sizes.parse_size("--shm-size", shm)
    if size == 0:
        raise UsageError("--shm-size: 0 is too little", hint=sizes.SIZE_HINT)
    for path in get.many("host_include"):
        if not path.startswith("/"):
            raise UsageError(f"--host-include: {path!r} is not an absolute path", hint="for example /home/me/project")
    return {
        "readonly": get.flag("read_only"),
        "writable": get.flag("writable"),
        "host_include": get.many("host_include"),
        "mounts": mounts,
        "shm_size": size,
        "devices": tuple(parse_device(text) for text in get.many("device")),
        "device_rules": tuple(parse_device_rule(text) for text in get.many("device_cgroup_rule")),
    }


def _confinement(get: _Texts) -> dict[str, Any]:
    """Names, namespaces and privileges."""
    hostname, domainname = get.optional("hostname"), get.optional("domainname")
    return {
        "hostname": "" if hostname is None else netfiles.check_hostname("--hostname", hostname),
        "domainname": "" if domainname is None else netfiles.check_hostname("--domainname", domainname),
        "add_hosts": tuple(netfiles.parse_add_host(text) for text in get.many("add_host")),
        "dns": tuple(netfiles.parse_address("--dns", text) for text in get.many("dns")),
        "sysctls": dict(namespaces.parse_sysctl(text) for text in get.many("sysctl")),
        "privileged": get.flag("privileged"),
        "cap_add": tuple(parse_name("--cap-add", text) for text in get.many("cap_add")),
        "cap_drop": tuple(parse_name("--cap-drop", text) for text in get.many("cap_drop")),
        "security": security.parse_security(get.many("security_opt")),
        "userns": namespaces.parse_userns(get.optional("userns")),
        "pid": namespaces.parse_mode("--pid", get.optional("pid")),
        "ipc": namespaces.parse_mode("--ipc", get.optional("ipc")),
        "uts": namespaces.parse_mode("--uts", get.optional("uts")),
        "cgroupns": namespaces.parse_mode("--cgroupns", get.optional("cgroupns")),
        "network": namespaces.parse_network(get.optional("network")),
        "time_offsets": namespaces.parse_time_offsets(get.many("time_offset")),
    }


def _log(driver: str | None, texts: tuple[str, ...]) -> LogOptions:
    """Return the log options.

    Raises:
        UsageError: an unknown driver or key, or options for a driver that takes none.
    """
    result = LogOptions() if driver is None else LogOptions(driver)
    if result.driver not in (JSON_FILE, LOG_NONE):
        raise UsageError(f"--log-driver: {driver!r} is unknown", hint="one of json-file, none")
    for text in texts:
        key, equals, value = text.partition("=")
        if result.driver == LOG_NONE:
            raise UsageError(f"--log-opt: {text!r}: log driver 'none' takes no options")
        if key == "max-size" and equals:
            size = sizes.parse_size_or_unlimited("--log-opt max-size", value)
            if 0 <= size < 4096:
                raise UsageError(f"--log-opt max-size: {value!r} is too little", hint="4k is the least")
            result = result.replace(max_size=size)
        elif key == "max-file" and equals:
            result = result.replace(max_file=sizes.parse_integer("--log-opt max-file", value, 1, 1000))
        else:
            raise UsageError(f"--log-opt: {text!r} is unknown", hint="max-size=10m or max-file=3")
    if result.max_file > 1 and result.max_size < 0:
        raise UsageError("--log-opt max-file: needs max-size", hint="for example --log-opt max-size=10m")
    return result


def _check_together(options: RunOptions) -> None:
    """Refuse options that contradict each other.

    Raises:
        UsageError: names both.
    """
    if not options.rootfs:
        raise UsageError("ROOTFS is empty", hint="a directory, or @host for this machine's own root")
    if options.entrypoint == "" and not options.command:
        raise UsageError("--entrypoint '': no command follows", hint="give the command after ROOTFS")
    if not options.command and not options.entrypoint:
        raise UsageError("no command", hint=f"say what to run: pycontain run {options.rootfs} /bin/sh")
    if options.detach and options.attach:
        raise UsageError("--attach: contradicts --detach", hint="give one of -a and -d")
    if options.writable and options.rootfs.startswith("@"):
        raise UsageError(f"--writable: {options.rootfs} is never written", hint="leave --writable out")
    if options.writable and options.readonly:
        raise UsageError("--writable: contradicts --read-only", hint="give one of them")
    if options.host_include and not options.rootfs.startswith("@"):
        raise UsageError("--host-include: is for @host only", hint="mount a directory: -v /home/me:/home/me:ro")
    if options.shm_size is not None and options.ipc != namespaces.PRIVATE:
        raise UsageError(f"--shm-size: contradicts --ipc {options.ipc}", hint="/dev/shm is that of the other side")
    if options.privileged and options.userns not in ("", "host"):
        raise UsageError(
            f"--userns: {options.userns} contradicts --privileged", hint="--privileged means --userns host"
        )
    namespaces.check_together(options)


def exec_options(raw: Mapping[str, Any], environ: Mapping[str, str]) -> ExecOptions:
    """Return the options of ``exec`` from their texts, keyed as in :func:`run_options`.

    Raises:
        UsageError: a value is wrong.
    """
    get = _Texts(raw)
    workdir, keys = get.text("workdir"), get.optional("detach_keys")
    if get.optional("workdir") is not None and not workdir.startswith("/"):
        raise UsageError(f"--workdir: {workdir!r} is not an absolute path", hint="for example -w /srv")
    if not get.many("command"):
        raise UsageError("no command", hint=f"say what to run: pycontain exec {get.text('container')} /bin/sh")
    return ExecOptions(
        container=get.text("container"),
        command=get.many("command"),
        detach=get.flag("detach"),
        interactive=get.flag("interactive"),
        tty=get.flag("tty"),
        env=envfile.parse_env(get.many("env_file"), get.many("env"), environ),
        workdir=workdir,
        user=get.text("user"),
        privileged=get.flag("privileged"),
        detach_keys=signals.DEFAULT_DETACH_KEYS if keys is None else signals.parse_detach_keys("--detach-keys", keys),
    )
