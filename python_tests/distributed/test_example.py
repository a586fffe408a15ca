"""The example of the documentation, under torchrun as it says."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from ..packaging.documents import blocks

PAGE = Path(__file__).parents[2] / "docs" / "distributed.md"


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
    lines = sorted(line for line in result.stdout.splitlines() if line.startswith("rank"))
    losses = {line.rpartition(" ")[2] for line in lines}
    assert [line.partition(",")[0] for line in lines] == [
        "rank 0 holds inputs 0 to 149",
        "rank 1 holds inputs 150 to 299",
    ]
    assert len(losses) == 1
    assert float(losses.pop()) < 0.3  # from 0.8 at the start
