"""``features``: what configurations may ask of this runtime, as JSON. Source: features.md, features-linux.md"""

from __future__ import annotations

from typing import Any

import pycontain
from pycontain import lean_json
from pycontain.oci import unitproperties
from pycontain.oci.invocation import Invocation
from pycontain.oci.listing import write
from pycontain.oci.words import Told
from pycontain.spec import seccomp
from pycontain.spec.linux import MEMORY_POLICY_FLAGS, MEMORY_POLICY_MODES, NAMESPACE_TYPES
from pycontain.spec.mount_options import KNOWN_OPTIONS
from pycontain.spec.process import CAPABILITIES
from pycontain.spec.state import OCI_VERSION_MAX, OCI_VERSION_MIN

CRIU_CONFIGURATION = "org.criu.config"
HOOKS = ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")


def features(_invocation: Invocation, _told: Told) -> int:
    """Print the document."""
    write(lean_json.dumps(document(), indent=2) + "\n")
    return 0


def document() -> dict[str, Any]:
    """Return what is supported; fixed when the program is built, whatever the host can do."""
    return {
        "ociVersionMin": OCI_VERSION_MIN,
        "ociVersionMax": OCI_VERSION_MAX,
        "hooks": list(HOOKS),
        "mountOptions": list(KNOWN_OPTIONS),
        "linux": {
            "namespaces": sorted(NAMESPACE_TYPES),
            "capabilities": list(CAPABILITIES),
            "cgroup": {"v1": True, "v2": True, "systemd": True, "systemdUser": True, "rdma": True},
            "seccomp": {
                "enabled": True,
                "actions": list(seccomp.ACTIONS),
                "operators": list(seccomp.OPERATORS),
                "archs": list(seccomp.ARCHITECTURES),
                "knownFlags": list(seccomp.FLAGS),
                "supportedFlags": list(seccomp.FLAGS),
            },
            "apparmor": {"enabled": True},
            "selinux": {"enabled": True},
            "intelRdt": {"enabled": True, "schemata": True, "monitoring": True},
            "memoryPolicy": {"modes": list(MEMORY_POLICY_MODES), "flags": list(MEMORY_POLICY_FLAGS)},
            "mountExtensions": {"idmap": {"enabled": True}},
            "netDevices": {"enabled": True},
        },
        "annotations": {
            "org.pycontain.version": pycontain.__version__,
            # engines ask for it by runc's name
            "org.opencontainers.runc.checkpoint.enabled": "true",
        },
        "potentiallyUnsafeConfigAnnotations": [unitproperties.PREFIX, CRIU_CONFIGURATION],
    }
