"""InterestCapsules: the formulae of MIND and ComiRec, masks, numbers of interests, and how logits are drawn."""

from __future__ import annotations

import copy
import math
from contextlib import contextmanager

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from capsroute import reference
from capsroute.nn import InterestCapsules, shared_votes

B, LENGTH, SIZE, INTERESTS, OUT = 4, 7, 5, 3, 6
ALL_TYPES = pytest.mark.parametrize("bilinear_type", [0, 1, 2])


def make(bilinear_type=2, **options):
    options = {"max_items": LENGTH if bilinear_type == 2 else None} | options
    layer = InterestCapsules(SIZE, INTERESTS, OUT, bilinear_type=bilinear_type, **options).double()
    for parameter in layer.parameters():  # nothing may hide behind a zero
        torch.nn.init.normal_(parameter, std=0.7)
    return layer


def make_items(length=LENGTH):
    return torch.randn(B, length, SIZE, dtype=torch.float64, requires_grad=True)


def ragged_mask():
    return torch.arange(LENGTH) < torch.tensor([[LENGTH], [1], [4], [5]])


def comirec(items, matrix, bias, mask, logits):
    """What ComiRec's layer computes, with a matrix [places, J or 1, D, d] in the place of its three kinds of weight."""
    matrix = matrix.expand(items.shape[1], INTERESTS, -1, -1)
    votes = torch.stack([matrix[i] @ items[:, i, None, :, None] for i in range(items.shape[1])], 1).squeeze(-1)
    votes = votes if bias is None else votes + bias
    votes = votes.permute(0, 2, 1, 3)  # [B, J, I, D]
    for iteration in range(3):
        coupling = torch.softmax(logits, dim=1) * mask[:, None, :]
        used = votes if iteration == 2 else votes.detach()
        s = (coupling[..., None] * used).sum(2)
        squared = s.square().sum(-1, keepdim=True)
        v = squared / (1 + squared) * s / (squared + 1e-9).sqrt()
        logits = logits + (votes.detach() * v.detach()[:, :, None]).sum(-1)
    return v


@pytest.mark.parametrize(("bilinear_type", "vote_bias"), [(0, False), (1, False), (2, False), (0, True), (1, True)])
def test_what_comirec_computes(bilinear_type, vote_bias):
    layer, items, mask = make(bilinear_type, vote_bias=vote_bias), make_items(), ragged_mask()
    logits = torch.zeros(B, INTERESTS, LENGTH, dtype=torch.float64)
    if bilinear_type == 0:
        logits = torch.randn(B, INTERESTS, LENGTH, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    expected = comirec(items, layer.weight, layer.bias, mask, logits)
    actual = layer(items, mask, generator=torch.Generator().manual_seed(3))
    torch.testing.assert_close(actual, expected, rtol=1e-12, atol=1e-13)

    inputs, direction = [items, *layer.parameters()], torch.randn_like(expected)
    gradients = (torch.autograd.grad(result, inputs, direction) for result in (actual, expected))
    for ours, theirs in zip(*gradients, strict=True):
        assert theirs.abs().max() > 0
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(
    ("bilinear_type", "shape"),
    [(0, (1, 1, OUT, SIZE)), (1, (1, INTERESTS, OUT, SIZE)), (2, (LENGTH, INTERESTS, OUT, SIZE))],
)
def test_parameters(bilinear_type, shape):
    layer = make(bilinear_type)
    assert {name: tuple(p.shape) for name, p in layer.named_parameters()} == {"weight": shape}
    assert list(layer.state_dict()) == ["weight"]
    biased = make(min(bilinear_type, 1), vote_bias=True)
    assert biased.bias.shape == (biased.weight.shape[1], OUT)


def test_an_interest_is_as_large_as_an_item_unless_told():
    assert InterestCapsules(SIZE, INTERESTS, max_items=LENGTH).weight.shape == (LENGTH, INTERESTS, SIZE, SIZE)


def test_initial_weight_keeps_the_length_of_items():
    torch.manual_seed(0)
    assert InterestCapsules(64, 4, 100, max_items=20).weight.std().item() == pytest.approx(0.1, rel=0.02)
    assert InterestCapsules(64, 4, max_items=20, init_std=0.3).weight.std().item() == pytest.approx(0.3, rel=0.02)


@pytest.mark.parametrize("training", [False, True])
def test_no_votes_are_stored_for_each_interest_with_type_0(training, monkeypatch):
    seen = []

    def route_votes(votes, **keywords):
        seen.append(votes)
        return reference.route_votes(votes, **keywords)

    monkeypatch.setattr(shared_votes.functional, "route_votes", route_votes)
    layer, items = make(0), make_items()
    with torch.set_grad_enabled(training):
        output = layer(items)
    (votes,) = seen
    assert votes.shape == (B, LENGTH, INTERESTS, OUT)
    assert votes.stride(2) == 0
    if training:
        with memory_limit_of_a_tensor(B * LENGTH * INTERESTS * OUT):
            output.sum().backward()


@contextmanager
def memory_limit_of_a_tensor(elements):
    """Every tensor that is made within has fewer elements."""

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            result = func(*args, **(kwargs or {}))
            for tensor in result if isinstance(result, tuple | list) else [result]:
                if isinstance(tensor, torch.Tensor):
                    assert tensor.numel() < elements, func
            return result

    with Watch():
        yield


def test_a_mask_of_integers_is_one_of_what_is_not_zero():
    layer, items, mask = make(1), make_items(), ragged_mask()
    for kind in (torch.int64, torch.uint8):
        numbers = mask.to(kind) * torch.randint(1, 100, mask.shape).to(kind)
        assert torch.equal(layer(items, numbers), layer(items, mask))


@pytest.mark.parametrize(("bilinear_type", "vote_bias"), [(0, False), (1, False), (2, False), (0, True), (1, True)])
def test_absent_items_are_never_used(bilinear_type, vote_bias):
    layer, mask = make(bilinear_type, vote_bias=vote_bias), ragged_mask()
    items = torch.randn(B, LENGTH, SIZE, dtype=torch.float64)
    logits = torch.randn(LENGTH, INTERESTS, dtype=torch.float64)
    results = []
    for filler in (0.0, math.nan):
        filled = items.masked_fill(~mask[..., None], filler).requires_grad_()
        output = layer(filled, mask, logits=logits)
        results.append([output, *torch.autograd.grad(output.square().sum(), [filled, *layer.parameters()])])
    for zeros, nans in zip(*results, strict=True):
        assert torch.equal(zeros, nans)
    assert results[1][1][~mask].abs().max() == 0


@ALL_TYPES
def test_a_user_without_items_has_interests_of_zero(bilinear_type):
    layer, items = make(bilinear_type), make_items()
    output = layer(items, torch.zeros(B, LENGTH, dtype=torch.bool))
    assert torch.equal(output, torch.zeros_like(output))
    for gradient in torch.autograd.grad(output.sum(), [items, layer.weight]):
        assert torch.equal(gradient, torch.zeros_like(gradient))


@ALL_TYPES
def test_masks_after_the_softmax(bilinear_type):
    items, mask, logits = make_items(), ragged_mask(), torch.randn(LENGTH, INTERESTS, dtype=torch.float64)
    over_inputs = make(bilinear_type, softmax_over="inputs")
    before = over_inputs(items, mask, logits=logits)
    over_inputs.mask_after_softmax = True
    after = over_inputs(items, mask, logits=logits)
    weighted = over_inputs(items, logits=logits, input_weight=mask.double())
    torch.testing.assert_close(after, weighted, rtol=1e-13, atol=0)
    torch.testing.assert_close(after[0], before[0], rtol=1e-12, atol=1e-14)  # nothing is absent there
    assert (after[1] - before[1]).abs().max() > 1e-3

    over_outputs = make(bilinear_type)
    before = over_outputs(items, mask, logits=logits)
    over_outputs.mask_after_softmax = True
    torch.testing.assert_close(over_outputs(items, mask, logits=logits), before, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("after", [False, True])
def test_weights_of_items_and_mask_go_together(after):
    layer, items, mask = make(1, mask_after_softmax=after), make_items(), ragged_mask()
    weight = torch.rand(B, LENGTH, dtype=torch.float64, requires_grad=True)
    output = layer(items, mask, input_weight=weight)
    expected = reference.dynamic_routing(
        items, layer.weight, input_mask=mask, input_weight=weight, gradient="last", eps=1e-9
    )
    torch.testing.assert_close(output, expected, rtol=1e-12, atol=1e-14)
    (gradient,) = torch.autograd.grad(output.sum(), weight)
    (theirs,) = torch.autograd.grad(expected.sum(), weight)
    assert theirs.abs().max() > 0
    torch.testing.assert_close(gradient, theirs, rtol=1e-11, atol=1e-14)


@ALL_TYPES
def test_numbers_of_interests(bilinear_type):
    layer, items = make(bilinear_type), make_items()
    logits = torch.randn(LENGTH, INTERESTS, dtype=torch.float64)
    counts = torch.tensor([3, 1, 2, 0])
    output = layer(items, counts=counts, logits=logits)
    for user, count in enumerate(counts.tolist()):
        assert torch.equal(output[user, count:], torch.zeros(INTERESTS - count, OUT, dtype=torch.float64))
        if count > 0:  # as if there were no others
            alone = layer(items, counts=torch.full((B,), count), logits=logits)[user, :count]
            torch.testing.assert_close(output[user, :count], alone, rtol=0, atol=0)
    torch.testing.assert_close(output[0], layer(items, logits=logits)[0], rtol=1e-12, atol=1e-14)
    assert (output[1, 0] - layer(items, logits=logits)[1, 0]).abs().max() > 1e-3


@pytest.mark.parametrize(("counts", "value"), [([3, 4, 1, 1], 4), ([-1, 1, 3, 2], -1)])
def test_numbers_of_interests_that_cannot_be(counts, value):
    with pytest.raises(ValueError, match=rf"counts must be from 0 to interests=3, got {value}"):
        make()(make_items(), counts=torch.tensor(counts))


def test_logits_are_drawn_anew_in_each_call_and_follow_the_generator():
    layer, items = make(0).float(), torch.randn(B, LENGTH, SIZE)
    drawn = torch.randn(B, INTERESTS, LENGTH, generator=torch.Generator().manual_seed(7))
    first = layer(items, generator=torch.Generator().manual_seed(7))
    torch.testing.assert_close(first, layer(items, logits=drawn.transpose(1, 2)), rtol=0, atol=0)
    torch.manual_seed(7)  # torch's own generator, where no other is given
    assert torch.equal(layer(items), first)
    assert not torch.equal(layer(items), first)
    layer.eval()
    assert not torch.equal(layer(items), first)


def test_logits_start_at_zero_where_told_and_with_types_1_and_2():
    items, zeros = make_items(), torch.zeros(LENGTH, INTERESTS, dtype=torch.float64)
    for layer in (make(0, initial_logits="zeros"), make(1), make(2)):
        expected = layer(items, logits=zeros)
        with torch.no_grad():
            torch.testing.assert_close(layer(items), expected, rtol=1e-13, atol=0)


@pytest.mark.parametrize("truncated", [False, True])
def test_how_logits_are_distributed(truncated):
    layer = InterestCapsules(
        1, 50, bilinear_type=1, max_items=400, initial_logits="fixed", logits_std=3.0, truncated_logits=truncated
    )
    assert (layer.logits.abs().max().item() > 6) is not truncated
    # The variance of a normal distribution cut at two standard deviations is 0.774 times that of the whole.
    assert layer.logits.std().item() == pytest.approx(3 * (0.774**0.5 if truncated else 1), rel=0.02)


def test_fixed_logits_stay():
    generator = torch.Generator().manual_seed(5)
    layer = make(0, max_items=LENGTH, initial_logits="fixed", generator=generator)
    expected = torch.randn(LENGTH, INTERESTS, generator=torch.Generator().manual_seed(5))
    torch.testing.assert_close(layer.logits, expected.double())
    assert [name for name, _ in layer.named_parameters()] == ["weight"]
    items = make_items()
    assert torch.equal(layer(items), layer(items))
    other = make(0, max_items=LENGTH, initial_logits="fixed")
    other.load_state_dict(layer.state_dict())
    assert torch.equal(other(items), layer(items))
    assert torch.equal(copy.deepcopy(layer)(items), layer(items))


@pytest.mark.parametrize("options", [{}, {"initial_logits": "fixed"}], ids=str)
def test_a_shorter_sequence_uses_the_first_places(options):
    layer, items = make(2, **options), make_items()
    mask = torch.arange(LENGTH) < 4
    expected = layer(items, mask.expand(B, LENGTH))
    torch.testing.assert_close(layer(items[:, :4]), expected, rtol=1e-12, atol=1e-14)


# With type 0 no votes are stored for each interest; see shared_votes for its two ways to the gradients.
@pytest.mark.parametrize(("bilinear_type", "options", "call"), [
    (0, {}, "mask counts weight"),
    (0, {}, "learned"),
    (0, {"iterations": 1}, "weight"),
    (0, {"softmax_over": "inputs"}, "mask"),
    (0, {"leaky": True, "temperature": (2.0, 1.0, 0.5)}, "counts"),
    (0, {"logit_update": "replace", "agreement_factor": 2.0}, "mask weight learned"),
    (0, {"squash": "shifted", "squash_constant": 0.7}, "counts weight"),
    (0, {"squash": "exponential", "eps": 1e-3}, "mask counts learned"),
    (0, {"squash": "power", "squash_constant": 2.0}, "mask weight"),
    (0, {"squash": "none"}, "counts learned"),
    (0, {"gradient": "all"}, "mask counts weight"),
    (0, {"gradient": "detached_votes"}, "weight learned"),
    (1, {"iterations": 2, "gradient": "all"}, "mask"),
    (1, {"leaky": True, "squash": "power", "squash_constant": 2.0}, "counts weight learned"),
    (2, {"iterations": 1, "softmax_over": "inputs", "eps": 0.3}, "counts"),
    (2, {"logit_update": "replace", "agreement_factor": 3.0, "temperature": (1.0, 0.5, 0.25)}, "mask weight learned"),
], ids=str)  # fmt: skip
def test_every_option_reaches_the_routing(bilinear_type, options, call):
    torch.manual_seed(0)
    layer, items, mask = make(bilinear_type, **options), make_items(), ragged_mask()
    learned = "learned" in call
    logits = torch.randn(B, LENGTH, INTERESTS, dtype=torch.float64, requires_grad=learned)
    weight = torch.rand(B, LENGTH, dtype=torch.float64, requires_grad=True) if "weight" in call else None
    mask, counts = (mask if "mask" in call else None), (torch.tensor([3, 1, 2, 2]) if "counts" in call else None)
    actual = layer(items, mask, counts=counts, logits=logits, input_weight=weight)
    expected = reference.dynamic_routing(
        items,
        layer.weight.expand(-1, INTERESTS, -1, -1),
        logits=logits,
        input_mask=mask,
        output_mask=None if counts is None else torch.arange(INTERESTS) < counts[:, None],
        input_weight=weight,
        **({"gradient": "last", "eps": 1e-9} | options),
    )
    torch.testing.assert_close(actual, expected, rtol=1e-12, atol=1e-13)

    inputs = [items, layer.weight, *([] if weight is None else [weight]), *([logits] if learned else [])]
    direction = torch.randn_like(expected)
    gradients = (torch.autograd.grad(y, inputs, direction, materialize_grads=True) for y in (actual, expected))
    for tensor, ours, theirs in zip(inputs, *gradients, strict=True):
        dropped = tensor is logits and options.get("logit_update") == "replace"
        assert bool(theirs.abs().max() > 0) is not dropped
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_shared_votes_of_half_types_are_as_exact_as_the_kernels(dtype):
    torch.manual_seed(0)
    layer = make(0).to(dtype)
    items, logits = (0.64 * torch.randn(B, 200, SIZE)).to(dtype), torch.randn(B, 200, INTERESTS).to(dtype)
    votes = torch.nn.functional.linear(items, layer.weight[0, 0])  # rounded, as every layer's are
    actual = layer(items, logits=logits)
    each = votes.float()[:, :, None].expand(-1, -1, INTERESTS, -1)
    exact = reference.route_votes(each, logits=logits.float(), eps=1e-9)
    torch.testing.assert_close(actual.float(), exact, rtol=2 * torch.finfo(dtype).eps, atol=0)
    assert torch.autograd.grad(actual.float().sum(), layer.weight)[0].abs().max() > 0


@ALL_TYPES
def test_autocast(bilinear_type):
    layer = make(bilinear_type).float()
    items, mask = torch.randn(B, LENGTH, SIZE), ragged_mask()
    logits = torch.randn(LENGTH, INTERESTS)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = layer(items, mask, logits=logits)
    assert output.dtype == torch.bfloat16
    torch.testing.assert_close(output.float(), layer(items, mask, logits=logits), rtol=0.1, atol=0.05)
    output.float().sum().backward()
    assert layer.weight.grad.abs().max() > 0


def test_repr_says_what_it_is():
    text = repr(make(0, squash="none"))
    assert "bilinear_type=0" in text
    assert "initial_logits='per_call'" in text
    assert "squash='none'" in text
    assert "gradient='last'" in text


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"in_size": 0}, ValueError, "in_size must be at least 1, got 0"),
        ({"interests": 0}, ValueError, "interests must be at least 1, got 0"),
        ({"out_size": 0}, ValueError, "out_size must be at least 1, got 0"),
        ({"max_items": 0}, ValueError, "max_items must be at least 1, got 0"),
        ({"bilinear_type": 3}, ValueError, "bilinear_type must be one of 0, 1, 2, got 3"),
        ({"max_items": None}, ValueError, "max_items must be given with bilinear_type=2"),
        ({"bilinear_type": 0, "max_items": None, "initial_logits": "fixed"}, ValueError, "max_items must be given"),
        (
            {"initial_logits": "random"},
            ValueError,
            "initial_logits must be one of 'zeros', 'per_call', 'fixed', got 'ran",
        ),
        ({"initial_logits": 1}, TypeError, "initial_logits must be one of .* got int"),
        ({"logits_std": -1.0}, ValueError, "logits_std must be a finite number of at least 0, got -1.0"),
        ({"logits_std": "1"}, TypeError, "logits_std must be a finite number of at least 0, got str"),
        ({"vote_bias": True}, ValueError, "vote_bias must be False with bilinear_type=2"),
    ],
    ids=str,
)
def test_bad_options(options, error, message):
    arguments = {"in_size": SIZE, "interests": INTERESTS, "max_items": LENGTH} | options
    with pytest.raises(error, match=message):
        InterestCapsules(**arguments)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"items": torch.zeros(B, LENGTH, SIZE + 1)}, ValueError, r"items must have the shape \[B, I, 5\]"),
        ({"items": torch.zeros(LENGTH, SIZE)}, ValueError, r"items must have the shape \[B, I, 5\]"),
        ({"items": torch.zeros(B, LENGTH + 1, SIZE)}, ValueError, "I of at most max_items=7, got 8"),
        ({"mask": [True]}, TypeError, "mask must be a torch.Tensor or None, got list"),
        (
            {"mask": torch.ones(B, LENGTH)},
            TypeError,
            "mask must have dtype torch.bool or an integer dtype, got torch.flo",
        ),
        ({"mask": torch.ones(B, dtype=torch.bool)}, ValueError, r"mask must have 2 dimensions \[B, I\]"),
        ({"mask": torch.ones(B, 2, dtype=torch.bool)}, ValueError, r"mask must have shape \[B, I\] = \(4, 7\)"),
        ({"counts": [1, 1, 1, 1]}, TypeError, "counts must be a torch.Tensor of an integer dtype, got list"),
        ({"counts": torch.ones(B)}, TypeError, "counts must have an integer dtype, got torch.float32"),
        ({"counts": torch.ones(B, dtype=torch.bool)}, TypeError, "counts must have an integer dtype, got torch.bool"),
        ({"counts": torch.ones(B, 1, dtype=torch.int64)}, ValueError, r"counts must have 1 dimensions \[B\]"),
        ({"counts": torch.ones(B + 1, dtype=torch.int64)}, ValueError, r"counts must have shape \[B\] = \(4,\)"),
        ({"logits": torch.zeros(INTERESTS, LENGTH)}, ValueError, "logits must have shape"),
        ({"input_weight": torch.ones(B)}, ValueError, "input_weight must have"),
    ],
    ids=str,
)
def test_bad_arguments(arguments, error, message):
    for after in (False, True):
        layer = InterestCapsules(SIZE, INTERESTS, max_items=LENGTH, mask_after_softmax=after)
        with pytest.raises(error, match=message):
            layer(**({"items": torch.zeros(B, LENGTH, SIZE)} | arguments))
