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


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """What each network gave for seven images here, and after its journey."""
    folder = tmp_path_factory.mktemp("exported")
    images = torch.rand(7, 1, 8, 8)
    torch.save(images, folder / "images.pt")
    here = {}
    for name, changes in NETWORKS.items():
        network = construct_network(TrainConfig(**changes)).to(memory_format=torch.contiguous_format).eval()
        batch = torch.export.Dim("batch")
        program = torch.export.export(network, (torch.rand(3, 1, 8, 8),), dynamic_shapes=({0: batch},))
        torch.export.save(program, folder / f"{name}.pt2")
        with torch.no_grad():
            output = network(images)
        here[name] = [type(output).__name__, *output]
    done = subprocess.run(
        [sys.executable, "-c", _OTHER, folder, *NETWORKS], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    return here, torch.load(folder / "outputs.pt")


@pytest.mark.parametrize("name", NETWORKS)
def test_another_process_computes_the_same(exported, name):
    here, there = (outputs[name] for outputs in exported)
    assert there[0] == here[0] == ("CapsNetOutput" if name.startswith("capsnet") else "PoolingCNNOutput")
    assert len(there) == 4
    for ours, theirs in zip(here[1:], there[1:], strict=True):
        if name.endswith("bare") and ours is None:
            assert theirs is None
        else:
            torch.testing.assert_close(theirs, ours, rtol=1e-5, atol=1e-6)
            assert len(theirs) == 7
