"""``capsroute info``: what was built, and what it runs on."""

from __future__ import annotations

import argparse
import json
from typing import Any

__all__ = ["add_parser", "collect", "run"]


def add_parser(subparsers: Any) -> None:
    """Adds the command to the parser of ``capsroute``."""
    parser = subparsers.add_parser(
        "info", help="print version, instruction sets, CUDA architectures, torch and threads"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def collect() -> dict[str, Any]:
    """Facts by name: those of :func:`capsroute.build_info`, and those of this process."""
    import platform

    import torch

    import capsroute
    from capsroute.routing import backends

    gpus = range(torch.cuda.device_count())
    return {
        **capsroute.build_info(),
        "torch": torch.__version__,
        "torch_cuda": torch.version.cuda,
        "gpus": [torch.cuda.get_device_name(index) for index in gpus],
        "gpu_kernels": [backends.choose(torch.device("cuda", index)).reason for index in gpus],
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "platform": platform.platform(),
    }


def run(args: argparse.Namespace) -> int:
    """Prints the facts."""
    facts = collect()
    if args.json:
        print(json.dumps(facts))
        return 0
    # Only these need more than their value; what a later build_info() adds is printed as it is.
    shown = {
        **facts,
        "cpu_isas": ", ".join(facts["cpu_isas"]),
        "cpu_isa": f"{facts['cpu_isa']} (chosen)",
        "cuda_archs": ", ".join(map(str, facts["cuda_archs"])) or "none: no CUDA kernels in this build",
        "emulation": "built" if facts["emulation"] else "not built",
        "openmp": "yes" if facts["openmp"] else "no: the kernels run on one thread",
        "torch_cuda": facts["torch_cuda"] or "none: a build of torch without CUDA",
        "gpus": ", ".join(facts["gpus"]) or "none",
        "gpu_kernels": "; ".join(facts["gpu_kernels"]) or "none to run on",
    }
    titles = {"cpu_isas": "instruction sets", "cpu_isa": "instruction set", "cuda_archs": "CUDA architectures"}
    titles |= {"openmp": "OpenMP", "torch_cuda": "CUDA of torch", "gpus": "GPUs", "emulation": "CUDA emulation"}
    titles |= {"gpu_kernels": "kernels for GPUs"}
    labels = {name: titles.get(name, name) for name in shown}
    width = max(map(len, labels.values()))
    for name, value in shown.items():
        print(f"{labels[name]:<{width}}  {value}")
    return 0
