"""What commit d6e728c wrote is still read, and computes the same: an exported program and a checkpoint.

``program.pt2`` is ``CapsuleLayer(6, 4, 5, 3, bias=True, temperature=(1.5, 1.2, 1.0), squash="shifted", eps=1e-6)``
exported for any batch, by torch 2.13. ``checkpoint.pt.xz`` is of one epoch of ``capsroute train --no-reconstruction``,
its numbers replaced by few different ones, so that it is small. ``expected.pt`` has what both computed then.
"""

from __future__ import annotations

import lzma
from pathlib import Path

import pytest
import torch

import capsroute  # noqa: F401  # the op of the program
from capsroute.training.storage.checkpoint import load_checkpoint

HERE = Path(__file__).parent
MADE_BY = (2, 13)


def expected() -> dict[str, torch.Tensor]:
    return torch.load(HERE / "expected.pt")


@pytest.mark.skipif(
    tuple(map(int, torch.__version__.split(".")[:2])) < MADE_BY, reason="an older torch does not read newer programs"
)
def test_a_program() -> None:
    known = expected()
    module = torch.export.load(HERE / "program.pt2").module()
    torch.testing.assert_close(module(known["x"]), known["output"])
    assert module(known["x"].repeat(4, 1, 1)).shape == (8, 5, 3)


def test_a_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    path.write_bytes(lzma.decompress((HERE / "checkpoint.pt.xz").read_bytes()))
    checkpoint, known = load_checkpoint(path), expected()
    assert (checkpoint.step, checkpoint.config.dataset) == (45, "digits")
    with torch.no_grad():
        capsules, *_ = checkpoint.network.build().eval()(known["images"])
    torch.testing.assert_close(capsules, known["capsules"], rtol=1e-3, atol=1e-9)
