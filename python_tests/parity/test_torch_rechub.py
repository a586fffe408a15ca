"""torch-rechub's capsule layer and models, and ours in its place: the same outputs, losses and gradients."""

from __future__ import annotations

import copy
import warnings
from contextlib import contextmanager

import onnxruntime
import pytest
import torch
from torch_rechub.basic.layers import CapsuleNetwork
from torch_rechub.models.matching.mind import dynamic_interest_mask
from torch_rechub.trainers import MatchTrainer

from capsroute.bench.recommender import Sizes, batch, model_step, rechub_layer, rechub_model, replacement
from capsroute.nn import interest_counts, interest_mask

SIZES = Sizes(batch=9, length=13, size=8, interests=3, items=60, negatives=5)
ALL_TYPES = pytest.mark.parametrize("bilinear_type", [0, 1, 2])


def parameter(layer):
    return next(p for name, p in layer.named_parameters() if "relu" not in name)


def results(layer, items, mask, direction, **call):
    """The interests and the gradients of items and weight, the weight as one matrix."""
    torch.manual_seed(5)  # of the initial logits
    items = items.clone().requires_grad_()
    interests = layer(items, mask, **call)
    gradients = torch.autograd.grad(interests, (items, parameter(layer)), direction)
    return {"interests": interests.detach(), "items": gradients[0], "weight": gradients[1].flatten()}


@contextmanager
def drawing_in_float64():
    """torch-rechub's layer takes torch's default type for its logits; the numbers stay those drawn in float32."""
    draw = torch.randn
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "randn", lambda *sizes, **more: draw(*sizes, **more, dtype=torch.float32).double())
        torch.set_default_dtype(torch.float64)
        try:
            yield
        finally:
            torch.set_default_dtype(torch.float32)


@pytest.fixture
def arguments():
    torch.manual_seed(0)
    items = torch.randn(SIZES.batch, SIZES.length, SIZES.size)
    direction = torch.randn(SIZES.batch, SIZES.interests, SIZES.size)
    lengths = torch.tensor([13, 1, 2, 7, 12, 0, 5, 13, 3])
    return items, torch.arange(SIZES.length) < lengths[:, None], direction


@ALL_TYPES
def test_the_layer(bilinear_type, arguments):
    items, mask, direction = arguments
    theirs = rechub_layer(bilinear_type, SIZES).double()
    with drawing_in_float64():
        expected = results(theirs, items.double(), mask.long(), direction.double())
    torch.manual_seed(5)
    drawn = torch.randn(SIZES.batch, SIZES.interests, SIZES.length).double().transpose(1, 2)
    logits = drawn if bilinear_type == 0 else None
    ours = results(replacement(theirs), items.double(), mask, direction.double(), logits=logits)
    for name, tensor in expected.items():
        torch.testing.assert_close(ours[name], tensor, rtol=1e-11, atol=1e-13)


def test_more_iterations_than_three_change_nothing_in_torch_rechub(arguments):
    items, mask, direction = arguments
    three, five = (CapsuleNetwork(8, 13, 1, 3, routing_times=times) for times in (3, 5))
    five.load_state_dict(three.state_dict())
    expected, actual = (results(layer, items, mask.long(), direction) for layer in (three, five))
    for name, tensor in expected.items():
        torch.testing.assert_close(actual[name], tensor, rtol=0, atol=0)
    replaced = results(replacement(five), items, mask, direction)
    torch.testing.assert_close(replaced["interests"], expected["interests"])


def test_fewer_iterations_than_three_have_no_gradient_in_torch_rechub(arguments):
    items, mask, _ = arguments
    assert not CapsuleNetwork(8, 13, 1, 3, routing_times=2)(items, mask.long()).requires_grad


@pytest.mark.parametrize("options", [{"routing_times": 2}, {"relu_layer": True}], ids=str)
def test_layers_without_a_counterpart(options):
    with pytest.raises(ValueError, match="layer must have relu_layer=False and routing_times of at least 3"):
        replacement(CapsuleNetwork(8, 13, 1, 3, **options))


def test_the_number_of_interests_is_theirs():
    lengths = torch.arange(200)
    mask = (torch.arange(200) < lengths[:, None]).long()
    ours = interest_mask(interest_counts(lengths, 5), 5)
    assert torch.equal(ours, dynamic_interest_mask(mask, 5))


@pytest.mark.parametrize("dynamic", [False, True])
def test_a_layer_that_knows_the_number_of_interests_gives_what_their_mask_leaves(dynamic, arguments):
    items, mask, _ = arguments
    theirs = rechub_layer(1, SIZES)
    keep = dynamic_interest_mask(mask.long(), 3) if dynamic else torch.ones(9, 3)
    counts = interest_counts(mask.sum(dim=1), 3) if dynamic else None
    actual = replacement(theirs)(items, mask, counts=counts)
    torch.testing.assert_close(actual, theirs(items, mask.long()) * keep[..., None])


@pytest.mark.parametrize(("name", "dynamic"), [("MIND", False), ("MIND", True), ("ComirecDR", False)])
def test_a_whole_model(name, dynamic):
    torch.manual_seed(1)
    theirs = rechub_model(name, SIZES)
    theirs.dynamic_interest = dynamic
    ours, inputs = copy.deepcopy(theirs), batch(SIZES)
    ours.capsule = replacement(theirs.capsule)
    steps = [model_step(model, inputs) for model in (ours, theirs)]
    for count in range(5):  # the losses and gradients of all, and the parameters that Adam makes of them
        both = []
        for step in steps:
            torch.manual_seed(count)
            both.append(step())
        for actual, expected in zip(*both, strict=True):
            scale = expected.abs().max().item()
            assert scale > 0
            torch.testing.assert_close(actual.reshape(expected.shape), expected, rtol=0, atol=2e-5 * scale)


def test_their_exporter_takes_a_model_with_our_layer(tmp_path):
    """``MatchTrainer.export_onnx``, and onnxruntime at another batch size."""
    torch.manual_seed(1)
    model, inputs = rechub_model("ComirecDR", SIZES), batch(SIZES)
    model.capsule = replacement(model.capsule)
    path = str(tmp_path / "user.onnx")
    trainer = MatchTrainer(model, mode=2, device="cpu", model_path=str(tmp_path))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer.export_onnx(path, mode="user", seq_length=SIZES.length)
    session = onnxruntime.InferenceSession(path)
    named = {entry.name: inputs[entry.name].numpy() for entry in session.get_inputs()}
    model.eval().mode = "user"
    torch.testing.assert_close(torch.from_numpy(session.run(None, named)[0]), model(inputs).detach())
