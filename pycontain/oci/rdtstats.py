"""What resctrl tells of a container: what the processor has, the class's schema, what its processes use.

The form is that of runc's ``events``. Source: Documentation/arch/x86/resctrl.rst
"""

from __future__ import annotations

import os
from typing import Any


def describe(directories: tuple[str, ...], resctrl: str) -> dict[str, Any]:
    """Return the statistics of a container whose processes are in these directories, the class first."""
    if not directories:
        return {}
    lines = _schemata(directories[0])
    found: dict[str, Any] = {
        "l3_cache_info": _info(f"{resctrl}/info/L3", ("min_cbm_bits", "num_closids"), "cbm_mask"),
        "l3_cache_schema_root": _line(_schemata(resctrl), "L3"),
        "l3_cache_schema": _line(lines, "L3"),
        "mem_bw_info": _info(
            f"{resctrl}/info/MB", ("bandwidth_gran", "delay_linear", "min_bandwidth", "num_closids"), ""
        ),
        "mem_bw_schema_root": _line(_schemata(resctrl), "MB"),
        "mem_bw_schema": _line(lines, "MB"),
        "schemata": lines,
        "mbm_stats": _monitored(directories[-1], ("mbm_total_bytes", "mbm_local_bytes")),
        "cmt_stats": _monitored(directories[-1], ("llc_occupancy",)),
    }
    return {key: value for key, value in found.items() if value}


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read().strip()
    except OSError:
        return ""  # not every processor has every file


def _schemata(directory: str) -> list[str]:
    return [line.strip() for line in _read(f"{directory}/schemata").splitlines() if line.strip()]


def _line(lines: list[str], resource: str) -> str:
    return next((line for line in lines if line.partition(":")[0] == resource), "")


def _info(directory: str, numbers: tuple[str, ...], word: str) -> dict[str, Any]:
    found: dict[str, Any] = {word: _read(f"{directory}/{word}")} if word else {}
    for name in numbers:
        text = _read(f"{directory}/{name}")
        if text.isdigit():
            found[name] = int(text)
    return {key: value for key, value in found.items() if value != ""}


def _monitored(directory: str, names: tuple[str, ...]) -> list[dict[str, int]]:
    """Return one entry for each cache that is monitored, in their order."""
    try:
        caches = sorted(name for name in os.listdir(f"{directory}/mon_data") if name.startswith("mon_L3_"))
    except OSError:
        return []
    rows = []
    for cache in caches:
        texts = {name: _read(f"{directory}/mon_data/{cache}/{name}") for name in names}
        # "Unavailable" where the hardware has not counted yet
        row = {name: int(text) for name, text in texts.items() if text.isdigit()}
        if row:
            rows.append(row)
    return rows
