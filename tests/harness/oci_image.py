"""A root file system as an image archive of the Open Container Initiative's layout, one layer, no registry."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from pathlib import Path
from typing import Any


def write_archive(rootfs: Path, archive: Path, name: str, config: dict[str, Any]) -> None:
    """Write ``rootfs`` as image ``name`` with this configuration (``Env``, ``Cmd`` …)."""
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as tar:
        tar.add(rootfs, arcname=".")
    with tarfile.open(archive, "w") as tar:
        content = _blob(tar, layer.getvalue())
        root = {"type": "layers", "diff_ids": [content["digest"]]}
        image = {"architecture": "amd64", "os": "linux", "config": config, "rootfs": root}
        manifest = {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": {"mediaType": "application/vnd.oci.image.config.v1+json", **_blob(tar, _json(image))},
            "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar", **content}],
        }
        entry = {
            "mediaType": manifest["mediaType"],
            **_blob(tar, _json(manifest)),
            "annotations": {"io.containerd.image.name": name, "org.opencontainers.image.ref.name": name},
        }
        _add(tar, "index.json", _json({"schemaVersion": 2, "manifests": [entry]}))
        _add(tar, "oci-layout", _json({"imageLayoutVersion": "1.0.0"}))


def _json(document: Any) -> bytes:
    return json.dumps(document).encode()


def _blob(tar: tarfile.TarFile, data: bytes) -> dict[str, Any]:
    digest = hashlib.sha256(data).hexdigest()
    _add(tar, f"blobs/sha256/{digest}", data)
    return {"digest": f"sha256:{digest}", "size": len(data)}


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    tar.addfile(member, io.BytesIO(data))
