"""The kinds of work whose memory is watched: each makes a function of the number of a step."""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

import capsroute
from capsroute import testing
from capsroute.nn import CapsuleLayer, MarginLoss

Step = Callable[[int], None]


def training(votes: str) -> Step:
    """Steps of a small network with one routing layer, by Adam, the votes got at in one way."""
    torch.manual_seed(0)
    primary, routing = nn.Linear(36, 24 * 8), CapsuleLayer(24, 8, 10, 16)
    optimiser = torch.optim.Adam([*primary.parameters(), *routing.parameters()])
    loss_of, images, labels = MarginLoss(), torch.randn(16, 36), torch.arange(16) % 10

    def step(_: int) -> None:
        with testing.cpu_votes(votes):
            optimiser.zero_grad()
            output = routing(primary(images).view(16, 24, 8))
            loss_of(output.norm(dim=2), labels).backward()
            optimiser.step()

    return step


def changing_shapes() -> Step:
    """The op alone, forward and backward, on another shape and with other options in each step."""

    def step(number: int) -> None:
        batch, inputs, outputs = 1 + number % 19, 1 + number % 31, 1 + number % 13
        x = torch.randn(batch, inputs, 1 + number % 9, requires_grad=True)
        weight = torch.randn(inputs, outputs, 1 + number % 17, x.shape[2], requires_grad=True)
        over = ("outputs", "inputs")[number % 2]
        gradient = ("all", "last", "detached_votes")[number % 3]
        mask = torch.ones(batch, inputs, dtype=torch.bool) if number % 5 == 0 else None
        output = capsroute.dynamic_routing(
            x, weight, iterations=1 + number % 4, softmax_over=over, gradient=gradient, input_mask=mask
        )
        output.sum().backward()
        votes = torch.einsum("bie,ijde->bijd", x.detach(), weight.detach()).requires_grad_()
        capsroute.route_votes(votes, softmax_over=over).sum().backward()

    return step


def _sources(batch: int = 3) -> tuple[Tensor, Tensor]:
    return torch.randn(batch, 12, 4, requires_grad=True), torch.randn(12, 5, 8, 4, requires_grad=True)


def graphs() -> Step:
    """Graphs that are kept for a second backward, or never get one, or whose gradients are differentiated again."""

    def step(_: int) -> None:
        x, weight = _sources()
        output = capsroute.dynamic_routing(x, weight)
        output.sum().backward(retain_graph=True)
        output.sum().backward()
        capsroute.dynamic_routing(x, weight)
        (gradient,) = torch.autograd.grad(capsroute.dynamic_routing(x, weight).sum(), x, create_graph=True)
        gradient.sum().backward()

    return step


def refused() -> Step:
    """Calls with arguments that are refused, by each floor of the package."""
    x, weight = _sources()
    calls: list[Callable[[], object]] = [
        lambda: capsroute.dynamic_routing(x, weight[:5]),
        lambda: capsroute.dynamic_routing(x, weight, iterations=0),
        lambda: capsroute.dynamic_routing(x, weight.double()),
        lambda: capsroute.dynamic_routing(x, weight, logits=torch.randn(2)),
        lambda: capsroute.dynamic_routing(x, weight, softmax_over="votes"),
        lambda: capsroute.dynamic_routing(x.detach().numpy(), weight),
        lambda: testing.cpu_isa("none").__enter__(),
        lambda: capsroute.routing.ops._native.RoutingProblem(),
        lambda: capsroute.dynamic_routing(torch.empty(1, 1, 1).expand(2**31, 2**16, 4), torch.empty(1, 9, 9, 4)),
    ]

    def step(number: int) -> None:
        try:
            calls[number % len(calls)]()
        except (TypeError, ValueError, RuntimeError):
            return
        raise AssertionError(f"call {number % len(calls)} was not refused")

    return step


def emulated() -> Step:
    """The CUDA kernels on the emulated device, forward and backward."""
    x, weight = _sources(2)

    def step(number: int) -> None:
        with testing.backend("cuda_emulated"), testing.cuda_kernel(("plain", "fused")[number % 2]):
            capsroute.dynamic_routing(x, weight, iterations=2).sum().backward()
        x.grad = weight.grad = None

    return step


# With how many times fewer steps each takes: the emulation takes many times as long as a kernel.
WORK: dict[str, tuple[Callable[[], Step], int]] = {
    **{f"training, votes {votes}": (partial(training, votes), 1) for votes in ("made", "tile", "wave")},
    "changing shapes": (changing_shapes, 1),
    "graphs kept and dropped": (graphs, 1),
    "refused arguments": (refused, 1),
    "emulated CUDA kernels": (emulated, 20),
}

_kept: list[object] = []


def _lost_thread() -> None:
    threading.Thread(target=threading.Event().wait, daemon=True).start()


# Leaks to plant, each the smallest of its kind: what makes it, in every how many steps, and what must show it.
PLANTED: dict[str, tuple[Callable[[], object], int, str]] = {
    "tensor": (lambda: _kept.append(torch.empty(1)), 1, "heap_bytes"),
    "malloc": (lambda: ctypes.CDLL(None).malloc(32), 1, "heap_bytes"),
    "object": (lambda: _kept.append([]), 1, "python_objects"),
    "descriptor": (lambda: os.open(os.devnull, os.O_RDONLY), 10, "descriptors"),
    "thread": (_lost_thread, 10, "threads"),
}


def leaking(step: Step, leak: str) -> Step:
    """The same work, with a planted leak."""
    plant, every, _ = PLANTED[leak]

    def both(number: int) -> None:
        step(number)
        if number % every == 0:
            plant()

    return both
