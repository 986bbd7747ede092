"""The default AppArmor profile: loaded once per boot where AppArmor is active. [lean]

The profile is a last line behind capabilities, masks and seccomp: it forbids mounting, writing below /proc and /sys
beyond what belongs to the container, and signals and tracing across its border. Source: apparmor.d(5).
"""

from __future__ import annotations

import os

NAME = "pycontain-default"
LOADED = "/sys/kernel/security/apparmor/profiles"
PARSERS = ("/usr/sbin/apparmor_parser", "/sbin/apparmor_parser")

PROFILE = f"""\
#include <tunables/global>

profile {NAME} flags=(attach_disconnected,mediate_deleted) {{
  network,
  capability,
  file,
  umount,

  # from outside everybody may end or stop us; we may signal only our own
  signal (receive) peer=unconfined,
  signal (send, receive) peer={NAME},
  ptrace (trace, read, tracedby, readby) peer={NAME},

  deny mount,

  # kernel settings and memory; what belongs to one process lies in numbered directories
  deny @{{PROC}}/* w,
  deny @{{PROC}}/{{[^1-9],[^1-9][^0-9],[^1-9s][^0-9y][^0-9s],[^1-9][^0-9][^0-9][^0-9/]*}}/** w,
  deny @{{PROC}}/sys/[^kn]** w,
  deny @{{PROC}}/sys/kernel/{{?,??,[^s][^h][^m]**}} w,
  deny @{{PROC}}/sysrq-trigger rwklx,
  deny @{{PROC}}/kcore rwklx,

  deny /sys/[^f]*/** wklx,
  deny /sys/f[^s]*/** wklx,
  deny /sys/fs/[^c]*/** wklx,
  deny /sys/fs/c[^g]*/** wklx,
  deny /sys/fs/cg[^r]*/** wklx,
  deny /sys/firmware/** rwklx,
  deny /sys/kernel/security/** rwklx,
}}
"""


def load_default() -> str:
    """Load the default profile unless it is there, and return why it cannot be had, or ""."""
    try:
        with open(LOADED, encoding="utf-8") as file:
            if any(line.startswith(f"{NAME} ") for line in file):
                return ""
    except OSError as error:
        return f"{LOADED}: {(error.strerror or '').lower()}"
    parser = next((path for path in PARSERS if os.path.exists(path)), "")
    if not parser:
        return "apparmor_parser is not installed (apt-get install apparmor)"
    import subprocess

    done = subprocess.run([parser, "-Kr"], input=PROFILE, capture_output=True, text=True, check=False)
    if done.returncode:
        return f"apparmor_parser: {' '.join(done.stderr.split()) or f'exit code {done.returncode}'}"
    return ""
