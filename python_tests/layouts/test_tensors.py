"""Each layout of the table against a statement of its own of how that implementation makes its votes."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from capsroute.layouts import (
    LAYOUTS,
    known,
    votes_from_capsroute,
    votes_to_capsroute,
    weight_from_capsroute,
    weight_to_capsroute,
)

B, I, J, D, d = 2, 4, 3, 5, 6  # noqa: E741 - the letters of the axis strings
H = W = 4  # of feature maps
K = 3  # window
P = 2  # inputs of a type


def outer_j(w: Tensor, x: Tensor) -> Tensor:
    """Matrices times column vectors, J before I."""
    return torch.matmul(w, x[:, None, :, :, None]).squeeze(-1)


def row_vectors(w: Tensor, x: Tensor) -> Tensor:
    """Row vectors times matrices, J before the batch."""
    return x[None, :, :, None, :] @ w[:, None]


def repeated(w: Tensor, x: Tensor) -> Tensor:
    """The input repeated for each output capsule, the weight for each sample."""
    return torch.cat([w] * B) @ torch.stack([x] * J, dim=2).unsqueeze(4)


def merged(w: Tensor, x: Tensor) -> Tensor:
    """A product with all output components of an input at once."""
    return x.unsqueeze(2).matmul(w).view(B, I, J, D)


def interests(w: Tensor, x: Tensor) -> Tensor:
    """ComiRec's type 2: products summed over the last axis."""
    return (w * x.unsqueeze(2)).sum(3).reshape(B, I, J, D).transpose(1, 2)


def elementwise(w: Tensor, x: Tensor) -> Tensor:
    """Products element by element, summed over d."""
    return (w * x.view(B, I, 1, d, 1)).sum(3, keepdim=True).reshape(B, I, J, D, 1)


Formula = Callable[[Tensor, Tensor], Tensor]

# Shape of the weight, and votes from it and x [B, I, d].
DENSE: dict[str, tuple[tuple[int, ...], Formula]] = {
    "Sarasra/models": ((I, d, J * D), lambda w, x: (x[..., None] * w).sum(2).view(B, I, J, D)),
    "XifengGuo/CapsNet-Pytorch": ((J, I, D, d), outer_j),
    "XifengGuo/CapsNet-Keras": ((J, I, D, d), outer_j),
    "naturomics/CapsNet-Tensorflow": ((1, I, J * D, d, 1), elementwise),
    "gram-ai/capsule-networks": ((J, I, d, D), row_vectors),
    "adambielski/CapsNet-pytorch": ((I, d, J * D), merged),
    "timomernick/pytorch-capsule": ((1, I, J, D, d), repeated),
    "cedrickchee/capsule-net-pytorch": ((1, I, J, D, d), repeated),
    "higgsfield/Capsule-Network-Tutorial": ((1, I, J, D, d), repeated),
    "jindongwang/Pytorch-CapsuleNet": ((1, I, J, D, d), repeated),
    "danielhavir/capsule-network": ((1, J, I, D, d), outer_j),
    "Officium/Capsules": ((J, I, d, D), row_vectors),
    "labmlai/annotated_deep_learning_paper_implementations": (
        (I, J, d, D),
        lambda w, x: torch.einsum("ijnm,bin->bijm", w, x),
    ),
    "teju85/capsnet": ((I, d, J * D), merged),
    "coder3000/SR-CapsNet": (
        (I, J * D, d),
        lambda w, x: torch.matmul(w, x[:, None, :, :, None]).squeeze(-1).view(B, 1, I, J, D),
    ),
    "yongheng1991/3D-point-capsule-networks": ((J, I, D, d), outer_j),
    "nii-yamagishilab/Capsule-Forensics-v2": (
        (J, I, D, d),
        lambda w, x: (w[:, None] @ x[None, :, :, :, None]).transpose(0, 1),
    ),
    "keras-team/keras:shared": (
        (1, d, J * D),
        lambda w, x: F.conv1d(x.mT, w[0].t()[..., None]).mT.reshape(B, I, J, D).permute(0, 2, 1, 3),
    ),
    "keras-team/keras:separate": ((I, d, J * D), lambda w, x: merged(w, x).permute(0, 2, 1, 3)),
    "brjathu/deepcaps:CapsuleLayer": ((J, I, D, d), outer_j),
    "brjathu/deepcaps:CapsuleLayer-channels": (
        (J, I // P, D, d),
        lambda w, x: outer_j(w.repeat_interleave(P, dim=1), x),
    ),
    "brjathu/deepcaps:DenseCaps": (
        (I, d, J, D),
        lambda w, x: torch.bmm(x.transpose(0, 1), w.reshape(I, d, J * D)).transpose(0, 1).reshape(B, I, J, D),
    ),
    "leftthomas/CapsuleLayer:shared": ((J, D, d), lambda w, x: outer_j(w.unsqueeze(1), x)),
    "leftthomas/CapsuleLayer:separate": ((J, I, D, d), outer_j),
    "THUDM/ComiRec:0": ((d, D), lambda w, x: (x @ w).repeat(1, 1, J).reshape(B, I, J, D).transpose(1, 2)),
    "THUDM/ComiRec:1": ((d, J * D), lambda w, x: (x @ w).reshape(B, I, J, D).transpose(1, 2)),
    "THUDM/ComiRec:2": ((1, I, J * D, d), interests),
    "datawhalechina/torch-rechub:0": (
        (D, d),
        lambda w, x: F.linear(x, w).repeat(1, 1, J).reshape(B, I, J, D).transpose(1, 2),
    ),
    "datawhalechina/torch-rechub:1": (
        (J * D, d),
        lambda w, x: F.linear(x, w).reshape(B, I, J, D).transpose(1, 2),
    ),
    "datawhalechina/torch-rechub:2": ((1, I, J * D, d), interests),
    "alibaba/TorchEasyRec": ((d, D), lambda w, x: torch.einsum("bsl,lh->bsh", x, w)),
    "haofengac/pyCapsNet": ((1, I, J, D, d), repeated),
}


def windows(poses: Tensor) -> Tensor:
    """``[B, I, d, H, W]`` to ``[B, L, I, K * K * d]``, the components of a pose innermost: ConvCapsules2d, joined."""
    unfolded = F.unfold(poses.flatten(0, 1), K).view(B, I, d, K * K, -1)
    return unfolded.permute(0, 4, 1, 3, 2).flatten(3)


def sarasra_conv(w: Tensor, poses: Tensor) -> Tensor:
    maps = F.conv2d(poses.reshape(B * I, d, H, W), w.permute(3, 2, 0, 1))
    return maps.view(B, I, J, D, *maps.shape[2:])


def segcaps(w: Tensor, poses: Tensor) -> Tensor:
    return sarasra_conv(w, poses).permute(0, 1, 4, 5, 2, 3)


def deepcaps_conv(w: Tensor, poses: Tensor) -> Tensor:
    maps = F.conv3d(poses.reshape(B, 1, I * d, H, W), w.permute(4, 3, 0, 1, 2), stride=(d, 1, 1))
    return maps.permute(0, 2, 1, 3, 4).reshape(B, I, J, D, *maps.shape[3:])


# The same for poses [B, I, d, H, W].
CONVOLUTIONAL: dict[str, tuple[tuple[int, ...], Formula]] = {
    "Sarasra/models:conv": ((K, K, d, J * D), sarasra_conv),
    "lalonderodney/SegCaps": ((K, K, d, J * D), segcaps),
    "brjathu/deepcaps:ConvCapsuleLayer3D": ((d, K, K, 1, J * D), deepcaps_conv),
}

NO_WEIGHT = {"naturomics/CapsLayer": (B, I, J, D, 1), "dmlc/dgl": (I * J, D)}

# Where one axis stands for several, or where one is not there: what has to be said of the weight and of the votes.
SIZES: dict[str, tuple[dict[str, int], dict[str, int]]] = {
    "brjathu/deepcaps:CapsuleLayer-channels": ({"p": P}, {}),
    "THUDM/ComiRec:0": ({"J": J}, {}),
    "datawhalechina/torch-rechub:0": ({"J": J}, {}),
    "alibaba/TorchEasyRec": ({"J": J}, {"J": J}),
    "dmlc/dgl": ({}, {"J": J}),
}


def sizes_of(name: str) -> tuple[dict[str, int], dict[str, int]]:
    weight = LAYOUTS[name].weight or ""
    return SIZES.get(name, ({"J": J} if "JD" in weight else {}, {}))


def random(*shape: int) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def test_every_layout_has_a_test() -> None:
    assert {*DENSE, *CONVOLUTIONAL, *NO_WEIGHT} == set(known())


@pytest.mark.parametrize("name", DENSE)
def test_weight_and_votes(name: str) -> None:
    shape, formula = DENSE[name]
    weight, x = random(*shape), random(B, I, d)
    for_weight, for_votes = sizes_of(name)
    ours = weight_to_capsroute(weight, name, **for_weight)
    votes = votes_to_capsroute(formula(weight, x), name, **for_votes)
    assert ours.shape in [(I, J, D, d), (1, J, D, d)]
    assert votes.shape == (B, I, J, D)
    expected = torch.einsum("ijDd,bid->bijD", ours.expand(I, J, D, d), x)
    torch.testing.assert_close(votes, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", CONVOLUTIONAL)
def test_convolutional_weight_and_votes(name: str) -> None:
    shape, formula = CONVOLUTIONAL[name]
    weight, poses = random(*shape), random(B, I, d, H, W)
    ours = weight_to_capsroute(weight, name, J=J)
    theirs = formula(weight, poses)
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


@pytest.mark.parametrize("name", DENSE)
def test_weights_come_back_and_are_not_copied(name: str) -> None:
    weight = random(*DENSE[name][0])
    sizes = sizes_of(name)[0]
    ours = weight_to_capsroute(weight, name, **sizes)
    if name.endswith("-channels"):  # an expanded axis inside a merged one: no strides say that
        assert ours.data_ptr() != weight.data_ptr()
        with pytest.raises(ValueError, match="weight must be shared over p"):
            weight_from_capsroute(ours, name, **sizes)
        return
    assert ours.data_ptr() == weight.data_ptr()
    assert ours.untyped_storage().nbytes() == weight.untyped_storage().nbytes()
    back = weight_from_capsroute(ours, name)
    assert back.shape == weight.shape
    assert torch.equal(back, weight)
    assert back.data_ptr() == weight.data_ptr()


@pytest.mark.parametrize("name", [*DENSE, *NO_WEIGHT])
def test_votes_come_back_and_are_not_copied(name: str) -> None:
    theirs = random(*NO_WEIGHT[name]) if name in NO_WEIGHT else DENSE[name][1](random(*DENSE[name][0]), random(B, I, d))
    sizes = sizes_of(name)[1]
    ours = votes_to_capsroute(theirs, name, **sizes)
    assert ours.data_ptr() == theirs.data_ptr()
    back = votes_from_capsroute(ours, name, **({"p": 1} if "SR-CapsNet" in name else {}))
    assert torch.equal(back, theirs)


def test_votes_of_layouts_without_a_weight() -> None:
    graph, capslayer = random(I * J, D), random(B, I, J, D, 1)
    for i, j in itertools.product(range(I), range(J)):
        assert torch.equal(votes_to_capsroute(graph, "dmlc/dgl", J=J)[0, i, j], graph[i * J + j])
    assert torch.equal(votes_to_capsroute(capslayer, "naturomics/CapsLayer"), capslayer.squeeze(-1))


def test_positions_of_votes_become_samples() -> None:
    theirs = random(B, P, I, J, D)
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
    (theirs,) = torch.autograd.grad(merged(weight, x).square().sum(), weight)
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
    with pytest.raises(ValueError, match=r"weight must be shared over I .* got size 4"):
        weight_from_capsroute(random(I, J, D, d), "THUDM/ComiRec:1")
