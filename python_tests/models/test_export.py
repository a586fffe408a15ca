"""Networks go through torch.export, a file and another process, for any batch."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from capsroute.training import TrainConfig
from capsroute.training.networks import construct_network

# Another process: nothing of this one is left but the files.
_OTHER = """
import sys
import torch
import capsroute.models

folder = sys.argv[1]
images = torch.load(f"{folder}/images.pt")
outputs = {}
for name in sys.argv[2:]:
    network = torch.export.load(f"{folder}/{name}.pt2").module()
    output = network(images)
    assert torch.equal(network(images[:1]).scores, network(images[:1])[1])
    outputs[name] = [type(output).__name__, *output]
torch.save(outputs, f"{folder}/outputs.pt")
"""
NETWORKS = {
    "capsnet": {},
    "capsnet-bare": {"reconstruction": False},
    "pooling-cnn": {"network": "pooling-cnn"},
    "pooling-cnn-bare": {"network": "pooling-cnn", "reconstruction": False},
}


@pytest.mark.parametrize("names", [
    ["capsnet", "pooling-cnn-bare"], pytest.param(["capsnet-bare", "pooling-cnn"], marks=pytest.mark.nightly),
], ids=" and ".join)  # fmt: skip
def test_another_process_computes_the_same(names, tmp_path):
    images = torch.rand(7, 1, 8, 8)
    torch.save(images, tmp_path / "images.pt")
    here = {}
    for name in names:
        network = construct_network(TrainConfig(**NETWORKS[name])).to(memory_format=torch.contiguous_format).eval()
        batch = torch.export.Dim("batch")
        program = torch.export.export(network, (torch.rand(3, 1, 8, 8),), dynamic_shapes=({0: batch},))
        torch.export.save(program, tmp_path / f"{name}.pt2")
        with torch.no_grad():
            output = network(images)
        here[name] = [type(output).__name__, *output]
    command = [sys.executable, "-c", _OTHER, tmp_path, *names]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    there = torch.load(tmp_path / "outputs.pt")
    for name in names:
        kind, *outputs = there[name]
        assert kind == here[name][0] == ("CapsNetOutput" if name.startswith("capsnet") else "PoolingCNNOutput")
        for ours, theirs in zip(here[name][1:], outputs, strict=True):
            if name.endswith("bare") and ours is None:
                assert theirs is None
            else:
                torch.testing.assert_close(theirs, ours, rtol=1e-5, atol=1e-6)
