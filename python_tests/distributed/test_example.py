"""The example of the documentation, under torchrun as it says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from ..packaging.documents import blocks

PAGE = Path(__file__).parents[2] / "docs" / "distributed.md"


@pytest.mark.nightly
def test_the_example_runs(tmp_path: Path) -> None:
    (program,) = (block.source for block in blocks("docs/distributed.md"))
    assert "torchrun --nproc-per-node 2 sharded.py" in PAGE.read_text()
    (tmp_path / "sharded.py").write_text(program)
    result = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "sharded.py"],
        cwd=tmp_path,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(sys.path),
            "OMP_NUM_THREADS": "1",
            "GLOO_SOCKET_IFNAME": "lo",
            "CUDA_VISIBLE_DEVICES": "",
        },
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert result.returncode == 0, result.stderr
    # Anywhere in a line: gloo writes to the same place, and what it writes may stand before ours without a line break.
    found = re.findall(r"rank (\d) holds inputs (\d+) to (\d+), loss (\d+\.\d+)", result.stdout)
    assert sorted(line[:3] for line in found) == [("0", "0", "149"), ("1", "150", "299")], result.stdout
    losses = {line[3] for line in found}
    assert len(losses) == 1
    assert float(losses.pop()) < 0.3  # from 0.8 at the start
