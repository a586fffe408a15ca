"""What the figures of a GPU depend on, beside what :mod:`capsroute.bench.environment` says of the machine."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import torch

_STATE = ("clocks.sm", "clocks.mem", "temperature.gpu", "power.draw", "utilization.gpu")
_LASTING = ("driver_version", "clocks.max.sm", "clocks.max.mem", "power.limit", "persistence_mode", "ecc.mode.current")


def facts(place: torch.device) -> dict[str, Any]:
    """Name, sizes, driver and limits of a CUDA device."""
    properties = torch.cuda.get_device_properties(place)
    return {
        "name": properties.name,
        "architecture": 10 * properties.major + properties.minor,
        "multiprocessors": properties.multi_processor_count,
        "bytes": properties.total_memory,
        "cache_bytes": getattr(properties, "L2_cache_size", None),
        "cuda_of_torch": torch.version.cuda,
        **_asked(place, _LASTING),
    }


def state(place: torch.device) -> dict[str, Any]:
    """Clocks in MHz, temperature in °C, power in W and load in %, of this moment."""
    return _asked(place, _STATE)


def _asked(place: torch.device, names: tuple[str, ...]) -> dict[str, Any]:
    """Answers of nvidia-smi; nothing where it is missing or does not know the device."""
    uuid = getattr(torch.cuda.get_device_properties(place), "uuid", None)
    which = (
        str(place.index) if uuid is None else f"GPU-{str(uuid).removeprefix('GPU-')}"
    )  # its order of devices is not that of CUDA
    answer = _said(["nvidia-smi", f"--id={which}", f"--query-gpu={','.join(names)}", "--format=csv,noheader,nounits"])
    values = [value.strip() for value in (answer or "").split(",")]
    return dict(zip(names, values, strict=True)) if len(values) == len(names) else {}


def commit() -> str | None:
    """The commit that this package is checked out from, with ``+`` if files were changed since.

    What ``CAPSROUTE_COMMIT`` says where that is set, for sources that were copied without their history. None where
    neither is known: the package is installed and not checked out, or git is missing.
    """
    if said := os.environ.get("CAPSROUTE_COMMIT"):
        return said
    here = Path(__file__).resolve().parent
    if _said(["git", "-C", str(here), "ls-files", "--error-unmatch", Path(__file__).name]) is None:
        return None
    changed = _said(["git", "-C", str(here), "status", "--porcelain", "--untracked-files=no"])
    return f"{_said(['git', '-C', str(here), 'rev-parse', 'HEAD'])}{'+' if changed else ''}"


def _said(command: list[str]) -> str | None:
    """What a program prints; None if it fails, hangs or is missing."""
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=20, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
