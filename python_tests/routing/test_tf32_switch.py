"""torch's own switch for TF32, whichever of its names it was set by, in a process of its own: names do not mix."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

PROGRAM = """
import warnings
warnings.simplefilter("error")
import torch
from capsroute.routing.core import tf32_allowed
said = [tf32_allowed()]
for allowed in (True, False):
    {}
    said.append(tf32_allowed())
print(said)
"""
NAMES = {
    "allow_tf32": "torch.backends.cuda.matmul.allow_tf32 = allowed",
    "float32_matmul_precision": "torch.set_float32_matmul_precision('high' if allowed else 'highest')",
    "fp32_precision": "torch.backends.cuda.matmul.fp32_precision = 'tf32' if allowed else 'ieee'",
    "fp32_precision of all": "torch.backends.fp32_precision = 'tf32' if allowed else 'ieee'",
}
OLD = [name for name in NAMES if "fp32" not in name]
HAS_PRECISION = hasattr(torch.backends.cuda.matmul, "fp32_precision")


@pytest.mark.parametrize("name", NAMES if HAS_PRECISION else OLD)
def test_switch(name: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(NAMES[name])], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.stdout.strip() == "[False, True, False]", done.stderr
