"""Everything about the machine and the software that the numbers depend on."""

from __future__ import annotations

import datetime
import os
import platform
from pathlib import Path
from typing import Any

import torch


def describe() -> dict[str, Any]:
    """A dict for the JSON file: processor, threads, versions, and how capsroute was built."""
    import capsroute

    return {
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "capsroute": capsroute.build_info(),
        "load_average": list(os.getloadavg()) if hasattr(os, "getloadavg") else None,
    }


def headline(environment: dict[str, Any]) -> str:
    """The same in one line, for the head of a table."""
    build = environment["capsroute"]
    return (
        f"{environment['processor']}, {environment['threads']} of {environment['cores']} threads, "
        f"torch {environment['torch']}, capsroute {build['version']} ({build['cpu_isa']})"
    )


def dated(environment: dict[str, Any]) -> str:
    """The same with the day before it, for a document."""
    return f"{environment['date'][:10]}, {headline(environment)}"


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
