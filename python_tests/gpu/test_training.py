"""A training step as people write it: compiled with CUDA graphs, under autocast with a gradient scaler."""

from __future__ import annotations

import pytest
import torch

import capsroute

from .. import kernels

kernels.require("cuda")


class Network(torch.nn.Module):
    """A layer before, a routing, a class of the longest capsule after."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.before = torch.nn.Linear(12, 64 * 8)
        self.weight = torch.nn.Parameter(torch.randn(64, 10, 16, 8) * 0.2)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        capsules = torch.tanh(self.before(images)).view(-1, 64, 8)
        return capsroute.dynamic_routing(capsules, self.weight).norm(dim=-1)


def step(network: torch.nn.Module, parameters: list[torch.Tensor], images: torch.Tensor) -> list[torch.Tensor]:
    """Output and gradients."""
    lengths = network(images)
    return [lengths.detach().clone(), *torch.autograd.grad(lengths.float().pow(2).sum(), parameters)]


@pytest.mark.parametrize("mode", ["default", "reduce-overhead"])
@pytest.mark.parametrize("autocast", [False, True])
def test_compiled_step(mode: str, autocast: bool) -> None:
    """Generated code and CUDA graphs around the op, for several calls, as many as warm up and then replay."""
    network = Network()
    parameters = list(network.parameters())
    torch._dynamo.reset()
    compiled = torch.compile(network, fullgraph=True, mode=mode)
    tolerance = {"rtol": 2e-2, "atol": 2e-2} if autocast else {"rtol": 1e-4, "atol": 1e-4}
    for seed in range(5):
        images = torch.randn(32, 12, generator=torch.Generator("cuda").manual_seed(seed))
        with torch.autocast("cuda", dtype=torch.bfloat16, enabled=autocast):
            expected = step(network, parameters, images)
            torch.compiler.cudagraph_mark_step_begin()
            found = step(compiled, parameters, images)
        for value, wanted in zip(found, expected, strict=True):
            torch.testing.assert_close(value, wanted, **tolerance)


def test_float16_with_a_gradient_scaler() -> None:
    network = Network()
    optimiser = torch.optim.SGD(network.parameters(), lr=0.05)
    scaler = torch.amp.GradScaler("cuda", init_scale=2.0**10)
    images, labels = torch.randn(64, 12), torch.arange(64) % 10
    losses = []
    for _ in range(30):
        with torch.autocast("cuda", dtype=torch.float16):
            lengths = network(images)
        assert lengths.dtype in (torch.float16, torch.float32)
        loss = torch.nn.functional.cross_entropy(lengths.float() * 10, labels)
        optimiser.zero_grad()
        scaler.scale(loss).backward()
        assert all(p.grad is not None and p.grad.dtype == torch.float32 for p in network.parameters())
        scaler.step(optimiser)
        scaler.update()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    assert scaler.get_scale() >= 2.0**10  # no step was thrown away for an overflow
