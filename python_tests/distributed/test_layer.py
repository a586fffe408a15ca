"""ShardedCapsuleLayer and what goes with it, beside CapsuleLayer in one process."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch

from capsroute import distributed
from capsroute.distributed import state_of_slice
from capsroute.nn import CapsuleLayer

from . import layer_tasks
from .pool import Ranks


@pytest.mark.parametrize(
    ("sizes", "options"),
    [
        ((1152, 8, 10, 16), {}),
        ((37, 3, 5, 1), {"bias": True, "learnable_logits": True, "softmax_over": "inputs"}),
        ((5, 1, 2, 1), {"leaky": True, "dtype": torch.float64}),
        ((3001, 8, 10, 16), {"init_std": 0.3}),  # drawn in several pieces
        ((40, 4, 6, 3), {"dtype": torch.bfloat16}),
    ],
    ids=str,
)
def test_slices_of_the_same_weights_for_the_same_seed(
    sizes: tuple[int, int, int, int], options: dict[str, Any], ranks: Ranks
) -> None:
    torch.manual_seed(3)
    whole = CapsuleLayer(*sizes, **options)
    following = torch.rand(())
    parts = ranks.run(layer_tasks.built, 3, sizes, options)
    ends = [0, *(part["held"][1] for part in parts)]
    assert [part["held"] for part in parts] == list(itertools.pairwise(ends))
    assert ends[-1] == sizes[0]
    assert max(b - a for a, b in itertools.pairwise(ends)) <= sizes[0] // 4 + 1
    for part in parts:
        expected = state_of_slice(whole.state_dict(), range(*part["held"]))
        assert part["state"].keys() == expected.keys()
        for name, tensor in expected.items():
            assert torch.equal(part["state"][name], tensor), name
        assert torch.equal(part["next"], following)
        assert f"in_capsules={sizes[0]} of which {part['held'][0]} to {part['held'][1] - 1} are here" in part["text"]


@pytest.mark.parametrize("options", [{}, {"softmax_over": "inputs", "learnable_logits": True}, {"gradient": "last"}])
@pytest.mark.parametrize("number", [2, 4])
def test_training_is_that_of_one_process(options: dict[str, Any], number: int, ranks: Ranks) -> None:
    expected = layer_tasks.trained(0, None, False, options)
    assert expected["losses"][-1] < expected["losses"][0]
    first = 0
    for part in ranks.run(layer_tasks.trained, True, options, ranks=number):
        assert part["losses"] == pytest.approx(expected["losses"], rel=1e-12)
        held = range(first, first + part["state"]["capsules.weight"].shape[0])
        first = held.stop
        for name, tensor in state_of_slice(expected["state"], held, "capsules.").items():
            torch.testing.assert_close(part["state"][name], tensor, rtol=1e-11, atol=1e-12)
    assert first == 10


@pytest.mark.parametrize("number", [1, 3, 4])
def test_splitting_gathers_the_gradient(number: int, ranks: Ranks) -> None:
    shape = (2, 10, 3)
    whole = torch.arange(60, dtype=torch.float64).reshape(shape)
    parts = ranks.run(layer_tasks.split, shape, ranks=number)
    assert torch.equal(torch.cat([part for part, _ in parts], 1), whole)
    factors = torch.cat([torch.full((part.shape[1],), rank + 1.0) for rank, (part, _) in enumerate(parts)])
    for _, gradient in parts:
        assert torch.equal(gradient, factors.double()[None, :, None].expand(shape))


def test_a_compiled_network_has_one_kind_of_break(ranks: Ranks) -> None:
    for found in ranks.run(layer_tasks.compiled, {"softmax_over": "inputs"}, ranks=2):
        assert all(map(torch.equal, found["compiled"], found["plain"]))
        (reason,) = found["breaks"]
        assert "_routed" in reason
        assert not found["warnings"]


def test_a_deep_copy_is_for_the_same_ranks(ranks: Ranks) -> None:
    """Two ranks have a group of their own, all have the default group."""
    for number in (2, 4):
        assert ranks.run(layer_tasks.copied, ranks=number) == [(True, True, True)] * number


@pytest.mark.parametrize("number", [1, 2])
def test_a_slice_is_a_copy(number: int, ranks: Ranks) -> None:
    assert all(ranks.run(layer_tasks.slice_of_tangent, ranks=number))
    assert all(ranks.run(layer_tasks.written_to, ranks=number))


@pytest.mark.parametrize(
    ("what", "text"),
    [
        ("more ranks than inputs", "inputs must be at least as many as there are ranks in the group, 3, got 2"),
        ("an unknown option", "unknown routing option 'itertions'"),
        ("logits of its own", "logits were given, but this layer learns its own"),
        ("logits of its own on one rank", "logits were given, but this layer learns its own"),
        ("one axis", "x must have the axes [B, I, ...], got shape (8,)"),
        ("the reference", "sharded routing needs a kernel for the device of its tensors"),
        ("a second derivative", "capsroute's kernels are differentiable once"),
        ("a tangent on one rank", "dynamic_routing must not be given tangents"),
        ("a tangent of the gradient", "capsroute's kernels are differentiable once"),
        ("a slice in a transform", "split_inputs must not run inside a transform of torch.func"),
        ("a transform", "dynamic_routing must not be given tangents or run inside a transform of torch.func"),
    ],
)
def test_bad_use_is_one_sentence(what: str, text: str, ranks: Ranks) -> None:
    for answer in ranks.run(layer_tasks.error_of, what, ranks=3):
        assert text in answer


def test_a_process_that_is_not_in_the_group(ranks: Ranks) -> None:
    inside, *outside = ranks.run(layer_tasks.error_of, "not in the group")
    assert inside == ""
    for rank, answer in enumerate(outside, 1):
        assert answer == f"group must contain the process that uses it, and does not contain rank {rank}"


def test_without_process_group() -> None:
    for use in (
        lambda: distributed.dynamic_routing(torch.ones(1, 3, 4), torch.ones(3, 5, 6, 4)),
        lambda: distributed.ShardedCapsuleLayer(3, 4, 5, 6),
        lambda: distributed.split_inputs(torch.ones(1, 3, 4)),
    ):
        with pytest.raises(RuntimeError, match=r"torch.distributed is not initialised: .*init_process_group first"):
            use()


def test_autocast_and_several_output_axes(ranks: Ranks) -> None:
    for answer in ranks.run(layer_tasks.in_bfloat16, ranks=2):
        assert answer == (torch.bfloat16, torch.float32, True)
