"""Each layout of the table against a statement, in parity, of how that implementation makes its votes."""

from __future__ import annotations

import itertools

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from capsroute.layouts import (
    known,
    votes_from_capsroute,
    votes_to_capsroute,
    weight_from_capsroute,
    weight_to_capsroute,
)

from ..parity.row import B, D, I, J, d
from ..parity.votes import VOTES, Formula, merged, sizes_of_weight
from .public_networks import random

H = W = 4  # of feature maps
K = 3  # window


def windows(poses: Tensor) -> Tensor:
    """``[B, I, d, H, W]`` to ``[B, L, I, K * K * d]``, the components of a pose innermost: ConvCapsules2d, joined."""
    unfolded = F.unfold(poses.flatten(0, 1), K).view(B, I, d, K * K, -1)
    return unfolded.permute(0, 4, 1, 3, 2).flatten(3)


def sarasra_conv(poses: Tensor, w: Tensor) -> Tensor:
    maps = F.conv2d(poses.reshape(B * I, d, H, W), w.permute(3, 2, 0, 1))
    return maps.view(B, I, J, D, *maps.shape[2:])


def segcaps(poses: Tensor, w: Tensor) -> Tensor:
    return sarasra_conv(poses, w).permute(0, 1, 4, 5, 2, 3)


def deepcaps_conv(poses: Tensor, w: Tensor) -> Tensor:
    maps = F.conv3d(poses.reshape(B, 1, I * d, H, W), w.permute(4, 3, 0, 1, 2), stride=(d, 1, 1))
    return maps.permute(0, 2, 1, 3, 4).reshape(B, I, J, D, *maps.shape[3:])


# The same for poses [B, I, d, H, W].
CONVOLUTIONAL: dict[str, tuple[tuple[int, ...], Formula]] = {
    "Sarasra/models:conv": ((K, K, d, J * D), sarasra_conv),
    "lalonderodney/SegCaps": ((K, K, d, J * D), segcaps),
    "brjathu/deepcaps:ConvCapsuleLayer3D": ((d, K, K, 1, J * D), deepcaps_conv),
}

NO_WEIGHT = {"dmlc/dgl": (I * J, D), "naturomics/CapsLayer": (B, I, J, D, 1)}


def test_every_layout_has_a_test() -> None:
    assert {*VOTES, *CONVOLUTIONAL, *NO_WEIGHT} == set(known())


@pytest.mark.parametrize("name", VOTES)
def test_weight_and_votes(name: str) -> None:
    """Both become ours, without a copy, and what they were again."""
    shape, formula = VOTES[name]
    weight, x = random(*shape), random(B, I, d)
    ours = weight_to_capsroute(weight, name, **sizes_of_weight(name))
    theirs = formula(x, weight)
    votes = votes_to_capsroute(theirs, name, **({"J": J} if "EasyRec" in name else {}))
    assert ours.shape in [(I, J, D, d), (1, J, D, d)]
    assert votes.shape == (B, I, J, D)
    expected = torch.einsum("ijDd,bid->bijD", ours.expand(I, J, D, d), x)
    torch.testing.assert_close(votes, expected, rtol=1e-12, atol=1e-12)
    assert votes.data_ptr() == theirs.data_ptr()
    assert torch.equal(votes_from_capsroute(votes, name, **({"p": 1} if "SR-CapsNet" in name else {})), theirs)
    if name.endswith("-channels"):  # an expanded axis inside a merged one: no strides say that
        assert ours.data_ptr() != weight.data_ptr()
        with pytest.raises(ValueError, match="weight must be shared over p"):
            weight_from_capsroute(ours, name, **sizes_of_weight(name))
        return
    assert ours.untyped_storage().nbytes() == weight.untyped_storage().nbytes()
    back = weight_from_capsroute(ours, name)
    assert torch.equal(back, weight)
    assert ours.data_ptr() == back.data_ptr() == weight.data_ptr()


@pytest.mark.parametrize("name", CONVOLUTIONAL)
def test_convolutional_weight_and_votes(name: str) -> None:
    shape, formula = CONVOLUTIONAL[name]
    weight, poses = random(*shape), random(B, I, d, H, W)
    ours = weight_to_capsroute(weight, name, J=J)
    theirs = formula(poses, weight)
    votes = votes_to_capsroute(theirs, name)
    assert ours.shape == (1, J, D, K * K * d)
    expected = torch.einsum("jDd,blid->blijD", ours[0], windows(poses))  # [B, L, I, J, D]
    if "deepcaps" in name:
        expected = expected.view(B, 2, 2, I, J, D).permute(0, 3, 4, 1, 2, 5)
    else:
        expected = expected.flatten(0, 1)
    torch.testing.assert_close(votes, expected, rtol=1e-12, atol=1e-12)
    back = votes_from_capsroute(votes, name, **({} if "deepcaps" in name else {"h": 2, "w": 2}))
    assert torch.equal(back, theirs)
    assert torch.equal(weight_from_capsroute(ours, name, h=K, w=K), weight)


def test_votes_of_layouts_without_a_weight() -> None:
    graph, capslayer = (random(*shape) for shape in NO_WEIGHT.values())
    ours = votes_to_capsroute(graph, "dmlc/dgl", J=J)
    for i, j in itertools.product(range(I), range(J)):
        assert torch.equal(ours[0, i, j], graph[i * J + j])
    assert torch.equal(votes_from_capsroute(ours, "dmlc/dgl"), graph)
    ours = votes_to_capsroute(capslayer, "naturomics/CapsLayer")
    assert torch.equal(ours, capslayer.squeeze(-1))
    assert torch.equal(votes_from_capsroute(ours, "naturomics/CapsLayer"), capslayer)


def test_positions_of_votes_become_samples() -> None:
    theirs = random(B, 2, I, J, D)
    votes = votes_to_capsroute(theirs, "coder3000/SR-CapsNet")
    assert torch.equal(votes, theirs.flatten(0, 1))
    assert votes.data_ptr() == theirs.data_ptr()


@pytest.mark.parametrize(
    ("axes", "shape", "sizes", "expected"),
    [
        ("J,I,D,d", (J, I, D, d), {}, (I, J, D, d)),
        ("I,d,JD", (I, d, J * D), {"D": D}, (I, J, D, d)),
        ("I,d,DJ", (I, d, J * D), {"D": D}, (I, J, D, d)),
        ("1,I,JD,d,1", (1, I, J * D, d, 1), {"J": J}, (I, J, D, d)),
        ("d,D", (d, D), {"J": J}, (1, J, D, d)),
        ("d,D", (d, D), {"J": J, "I": I}, (I, J, D, d)),
    ],
)
def test_layouts_by_their_axes(
    axes: str, shape: tuple[int, ...], sizes: dict[str, int], expected: tuple[int, ...]
) -> None:
    weight = random(*shape)
    ours = weight_to_capsroute(weight, axes, **sizes)
    assert ours.shape == expected
    assert ours.data_ptr() == weight.data_ptr()
    assert torch.equal(weight_from_capsroute(ours, axes), weight)


def test_from_capsroute_merges_with_a_copy_where_memory_demands_it() -> None:
    ours = random(I, J, D, d)
    theirs = weight_from_capsroute(ours, "adambielski/CapsNet-pytorch")
    assert theirs.shape == (I, d, J * D)
    assert torch.equal(theirs, ours.flatten(1, 2).transpose(1, 2))
    assert torch.equal(weight_to_capsroute(theirs, "adambielski/CapsNet-pytorch", J=J), ours)


def test_gradients_reach_the_original() -> None:
    weight = random(I, d, J * D).requires_grad_()
    x = random(B, I, d)
    (theirs,) = torch.autograd.grad(merged(x, weight).square().sum(), weight)
    ours = weight_to_capsroute(weight, "adambielski/CapsNet-pytorch", J=J)
    (found,) = torch.autograd.grad(torch.einsum("ijDd,bid->bijD", ours, x).square().sum(), weight)
    torch.testing.assert_close(found, theirs, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("XifengGuo/CapsNet-PyTorch", "XifengGuo/CapsNet-Pytorch"),
        ("gram-ai/capsule-network", "gram-ai/capsule-networks"),
        ("ComiRec:1", "THUDM/ComiRec:1"),
    ],
)
def test_an_unknown_name_is_answered_with_the_nearest_and_all(name: str, nearest: str) -> None:
    with pytest.raises(ValueError, match=rf"unknown layout '{name}'\. Did you mean '{nearest}'\?") as error:
        weight_to_capsroute(random(I, J, D, d), name)
    assert all(known_name in str(error.value) for known_name in known())


def test_a_name_like_nothing_gets_no_guess() -> None:
    with pytest.raises(ValueError, match=r"unknown layout '@'\. Known are: Sarasra/models, .* or axes such as"):
        votes_to_capsroute(random(B, I, J, D), "@")


def test_bad_input() -> None:
    with pytest.raises(TypeError, match="layout must be a str, got int"):
        weight_to_capsroute(random(I, J, D, d), 3)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"weight must be a torch\.Tensor, got list"):
        weight_to_capsroute([1.0], "J,I,D,d")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="layout 'naturomics/CapsLayer' has no weight"):
        weight_to_capsroute(random(I, J, D, d), "naturomics/CapsLayer")
    with pytest.raises(
        ValueError, match=r"weight in the layout 'J,I,D,d' must have the shape \[J, I, D, d\], got \[4\]"
    ):
        weight_to_capsroute(random(4), "XifengGuo/CapsNet-Pytorch")
    with pytest.raises(ValueError, match=r"votes in the layout 'J,B,I,1,D' must have the shape \[J, B, I, 1, D\]"):
        votes_to_capsroute(random(J, B, I, 2, D), "gram-ai/capsule-networks")
    with pytest.raises(ValueError, match=r"does not tell the size of J: give J=\.\.\."):
        weight_to_capsroute(random(d, D), "THUDM/ComiRec:0")
    with pytest.raises(ValueError, match=r"weight must be shared over I .* got size 6"):
        weight_from_capsroute(random(I, J, D, d), "THUDM/ComiRec:1")
