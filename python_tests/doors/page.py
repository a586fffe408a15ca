"""The table of docs/works-with.md, from what ``python -m python_tests.doors`` kept."""

from __future__ import annotations

import importlib.metadata
import platform

PACKAGES = ("torch", "onnx", "onnxscript", "onnxruntime", "safetensors", "torchinfo", "captum", "keras", "torch-rechub")


def versions() -> dict[str, str]:
    """Of what the doors belong to."""
    return {"python": platform.python_version(), **{name: importlib.metadata.version(name) for name in PACKAGES}}
