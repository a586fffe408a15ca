"""Labels and targets: every network, decoder and loss refuses the same ones, by the name of its argument."""

from __future__ import annotations

from functools import partial

import pytest
import torch

from capsroute.models import MIND, CapsNet, DeepCaps, PoolingCNN, ResNetCapsules, SegCaps
from capsroute.nn import MarginLoss, ReconstructionDecoder, margin_loss, targets

B, J = 2, 3
IMAGES = torch.rand(B, 1, 8, 8)
_CAPSNET = partial(CapsNet, image_size=8, conv_channels=2, conv_kernel=3, primary_types=1, primary_kernel=3, classes=J)
_RESNET = partial(ResNetCapsules, in_channels=1, image_size=8, blocks=1, planes=2, types=2, size=2, classes=J)
_CNN = partial(PoolingCNN, image_size=8, channels=(2,), kernel=3, hidden=(4,), classes=J)
_DEEP = partial(DeepCaps, image_size=8, types=1, classes=J, class_size=4)

# What takes one class or several per sample, and what it calls them.
TAKERS = {
    "margin_loss": ("target", lambda: partial(margin_loss, torch.rand(B, J))),
    "MarginLoss": ("target", lambda: partial(MarginLoss(), torch.rand(B, J))),
    "ReconstructionDecoder": ("labels", lambda: partial(ReconstructionDecoder(J, 2, (1, 2, 2)), torch.rand(B, J, 2))),
    "CapsNet": ("labels", lambda: partial(_CAPSNET(decoder_sizes=(4,)), IMAGES)),
    "CapsNet, no decoder": ("labels", lambda: partial(_CAPSNET(decoder_sizes=None), IMAGES)),
    "CapsNet, not asked": ("labels", lambda: partial(_CAPSNET(decoder_sizes=(4,)), IMAGES, reconstruct=False)),
    "DeepCaps": ("labels", lambda: partial(_DEEP(), IMAGES)),
    "DeepCaps, no decoder": ("labels", lambda: partial(_DEEP(decoder=False), IMAGES)),
    "ResNetCapsules": ("labels", lambda: partial(_RESNET(), IMAGES)),
    "PoolingCNN": ("labels", lambda: partial(_CNN(decoder_sizes=None), IMAGES)),
}
NUMBERS = r"must hold class numbers from 0 to 2, got "
PRESENCE = r"must hold 0 \(absent\) or 1 \(present\) for each class, got "
SHAPES = r"must (have the shape \[B\] = \[2\]|be one class number per sample, \[B\] = \[2\]).*, got .*"
WRONG = [
    (torch.tensor([0, 3]), ValueError, NUMBERS + "3"),
    (torch.tensor([-1, 0]), ValueError, NUMBERS + "-1"),
    (torch.tensor([0.0, 1.0]), TypeError, r"must hold class numbers of dtype torch\.int64, got torch\.float32"),
    (torch.tensor([True, False]), TypeError, r"must hold class numbers of dtype torch\.int64, got torch\.bool"),
    (torch.tensor([0, 1], dtype=torch.int32), TypeError, r"must hold class numbers .*, got torch\.int32"),
    (torch.tensor([0, 1, 2]), ValueError, SHAPES + r"\[3\]"),
    (torch.tensor([[0], [1]]), ValueError, SHAPES + r"\[2, 1\]"),
    (torch.tensor(1), ValueError, SHAPES + r"\[\]"),
    ([0, 1], TypeError, r"must be a torch\.Tensor.*, got list"),
    (torch.tensor([0, 1]).to_sparse(), TypeError, "must be a dense"),
    (torch.tensor([0, 1], device="meta"), ValueError, "must be on the device of [a-z]+, cpu, got meta"),
]
WRONG_PRESENCE = [
    (torch.tensor([[0.0, 0.5, 1.0]] * B), ValueError, PRESENCE + "0.5"),
    (torch.tensor([[0, 1, 2]] * B), ValueError, PRESENCE + "2"),
    (torch.tensor([[0, 1, -1]] * B), ValueError, PRESENCE + "-1"),
    (torch.tensor([[0, 1, torch.nan]] * B), ValueError, PRESENCE + "nan"),
    (
        torch.zeros(B, J, dtype=torch.complex64),
        TypeError,
        "must hold presence of a real dtype",
    ),
]


@pytest.mark.parametrize("name", TAKERS)
def test_wrong_labels(name):
    argument, make = TAKERS[name]
    taker = make()
    draws_one = name == "DeepCaps"
    for value, error, message in WRONG + ([] if draws_one else WRONG_PRESENCE):
        with pytest.raises(error, match=f"{argument} (of shape .B. )?{message}"):
            taker(value)
    taker(torch.tensor([0, 2]))
    if draws_one:
        with pytest.raises(ValueError, match=r"labels must be class numbers .* one class at a time; pass reconstruct"):
            taker(torch.ones(B, J))
        taker = partial(taker, reconstruct=False)
    for dtype in (torch.bool, torch.uint8, torch.float16, torch.float64):
        taker(torch.tensor([[1, 0, 1], [0, 0, 0]]).to(dtype))


@pytest.mark.parametrize(
    ("classes", "mask", "error", "message"),
    [
        (1, torch.full((B, 8, 8), 0.5), ValueError, "mask " + PRESENCE + "0.5"),
        (1, torch.full((B, 8, 8), 255, dtype=torch.uint8), ValueError, "mask " + PRESENCE + "255"),
        (1, "all", TypeError, r"mask must be a torch\.Tensor.*, got str"),
        (1, torch.zeros(B, 1, 8, 8), ValueError, r"mask must have the shape \[2, 8, 8\], got \[2, 1, 8, 8\]"),
        (J, torch.full((B, 8, 8), J), ValueError, "mask " + NUMBERS + "3"),
        (
            J,
            torch.zeros(B, 8, 8),
            TypeError,
            r"mask of shape \[B, H, W\] must hold class numbers of dtype torch.int64",
        ),
        (J, torch.full((B, J, 8, 8), 2), ValueError, "mask " + PRESENCE + "2"),
        (J, torch.zeros(B, 2, 8, 8), ValueError, r"\[B, H, W\] = \[2, 8, 8\] .* or \[B, J, H, W\] = \[2, 3, 8, 8\]"),
    ],
)
def test_wrong_masks(classes, mask, error, message):
    with pytest.raises(error, match=message):
        SegCaps(types=1, size=2, classes=classes)(IMAGES, mask)


def test_wrong_items():
    model, history = MIND(9, 4, 2), torch.tensor([[1, 2, 0]])
    for wrong, error, message in (
        (torch.tensor([[1, 9, 0]]), ValueError, "history must hold item ids from 0 to 8, got 9"),
        (torch.tensor([[1, -1, 0]]), ValueError, "history must hold item ids from 0 to 8, got -1"),
        (torch.tensor([[1.0, 2.0]]), TypeError, "history of shape .* must hold item ids of dtype torch.int64"),
        (torch.tensor([1, 2]), ValueError, r"history must have the shape \[B, I\], got \[2\]"),
    ):
        with pytest.raises(error, match=message):
            model(wrong)
    for wrong, error, message in (
        (torch.tensor([9]), ValueError, "target must hold item ids from 0 to 8, got 9"),
        (torch.tensor([True]), TypeError, "target of shape .* must hold item ids of dtype torch.int64"),
        (torch.tensor([1, 2]), ValueError, r"target must have the shape \[B\] = \[1\], got \[2\]"),
    ):
        with pytest.raises(error, match=message):
            model(history, wrong)


def test_values_are_nobodys_while_a_program_is_made():
    """No look at values: in a compiled, exported or traced program, and where samples are mapped."""
    decoder = ReconstructionDecoder(J, 2, (1, 2, 2))
    capsules, labels, present = torch.rand(B, J, 2), torch.tensor([0, 2]), torch.tensor([[1, 0, 1], [0, 1, 0]])
    lengths = capsules.norm(dim=2)
    for value in (labels, present):
        expected = decoder(capsules, value)
        exported = torch.export.export(decoder, (capsules, value)).module()
        traced = torch.jit.trace(decoder, (capsules, value), check_trace=False)
        symbolic = torch.fx.symbolic_trace(decoder)
        for program in (exported, traced, symbolic):
            torch.testing.assert_close(program(capsules, value), expected)
        compiled = torch.compile(margin_loss, backend="eager", fullgraph=True)
        torch.testing.assert_close(compiled(lengths, value), margin_loss(lengths, value))
        each = torch.func.vmap(lambda v, t: margin_loss(v[None], t[None]))(lengths, value)
        torch.testing.assert_close(each.mean(), margin_loss(lengths, value))


def test_on_a_gpu_a_wrong_value_is_asserted_without_waiting(monkeypatch):
    """Played here: what would be asserted on the device."""
    asserted = []
    monkeypatch.setattr(targets, "_can_be_read", lambda value: False)
    monkeypatch.setattr(targets, "_can_be_asserted", lambda value: True)
    monkeypatch.setattr(targets, "_assert_later", lambda right, sentence: asserted.append((bool(right), sentence)))
    for value in ([0, 2], [0, 3], [[1, 0, 0]] * B, [[2, 0, 0]] * B):
        margin_loss(torch.rand(B, J), torch.tensor(value))
    assert [right for right, _ in asserted] == [True, False, True, False]
    assert asserted[1][1] == "target must hold class numbers from 0 to 2"
    torch._assert_async(torch.tensor(True), asserted[1][1])  # torch still has it
