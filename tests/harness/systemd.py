"""A real systemd as process 1 of namespaces of its own, with a bus and a user's manager beside it: only in a guest."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

SYSTEMD = "/lib/systemd/systemd"
NOBODY = 65534

BUS_SOCKET = """
[Unit]
DefaultDependencies=no
[Socket]
ListenStream=/run/dbus/system_bus_socket
"""
BUS = """
[Unit]
DefaultDependencies=no
Requires=dbus.socket
[Service]
Type=notify
NotifyAccess=main
ExecStart=/usr/bin/dbus-daemon --system --address=systemd: --nofork --nopidfile --systemd-activation
"""
USER_MANAGER = """
[Unit]
DefaultDependencies=no
Requires=dbus.service
After=dbus.service
[Service]
Type=notify
User=nobody
Delegate=yes
Environment=XDG_RUNTIME_DIR={runtime}
ExecStart={systemd} --user --unit=dbus.socket
"""
TEST = """
[Unit]
DefaultDependencies=no
Wants=user-manager.service
After=dbus.service user-manager.service
Requires=dbus.service
SuccessAction=exit-force
FailureAction=exit-force
[Service]
Type=oneshot
ExecStart={python} {script} system {output}/system
ExecStart=/usr/bin/setpriv --reuid=nobody --regid=nogroup --clear-groups {python} {script} user {output}/user
Environment=XDG_RUNTIME_DIR={runtime}
StandardError=file:{output}/stderr
"""


def boot(script: Path, output: Path) -> subprocess.CompletedProcess[str]:
    """Run ``script system FILE`` as root and ``script user FILE`` as nobody; return when systemd has gone.

    FILE is ``system`` or ``user`` in ``output``. systemd takes the whole hierarchy of cgroups.
    """
    output.chmod(0o777)
    output.parent.chmod(0o755)
    output.parent.parent.chmod(0o755)
    runtime = Path("/run/user") / str(NOBODY)
    runtime.mkdir(parents=True, exist_ok=True)
    os.chown(runtime, NOBODY, NOBODY)
    units = Path("/run/systemd/system")
    units.mkdir(parents=True, exist_ok=True)
    Path("/run/dbus").mkdir(exist_ok=True)
    words = {"python": sys.executable, "script": script, "output": output, "runtime": runtime, "systemd": SYSTEMD}
    for name, text in (
        ("dbus.socket", BUS_SOCKET),
        ("dbus.service", BUS),
        ("user-manager.service", USER_MANAGER.format(**words)),
        ("test.service", TEST.format(**words)),
        ("test.target", "[Unit]\nDefaultDependencies=no\nWants=test.service\nAllowIsolate=yes\n"),
    ):
        (units / name).write_text(text)
    options = ["--system", "--unit=test.target", "--show-status=0", "--log-target=console", "--log-level=warning"]
    try:
        return _boot(options)
    finally:
        # by these the next program would take the machine for one that systemd runs
        for left in ("/run/systemd", "/run/dbus", str(runtime)):
            shutil.rmtree(left, ignore_errors=True)


def _boot(options: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["unshare", "-fpm", "--mount-proc", "--kill-child", SYSTEMD, *options],
        env={"container": "other", "PATH": os.environ["PATH"]},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
