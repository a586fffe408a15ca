"""Converted state dicts give the outputs of the modules that they come from, and nothing of them is lost silently."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch
from capsroute.reference import prediction_vectors
from torch import Tensor
from torch_rechub.basic.layers import CapsuleNetwork

from capsroute.bench.recommender import replacement
from capsroute.layouts import FlatPrimaryCapsules, convert_state_dict, module_options, sources
from capsroute.models import CapsNet
from capsroute.nn import CapsuleLayer, ConvCapsules2d, InterestCapsules

from ..parity import rows_conv
from ..parity.differences import DIFFERENCES
from ..parity.row import B, D, I, J, d
from ..parity.rows import ROWS
from ..parity.squashes import under_root
from .public_networks import CHANNELS, HIDDEN, IMAGE, KERNEL, NETWORKS, SIZES, TYPES, random

# The keys of public layers by the names of their tensors; their formulae are those of parity.
LAYERS = {
    "XifengGuo/CapsNet-Pytorch:DenseCapsule": {"weight": "weight"},
    "danielhavir/capsule-network:RoutingCapsules": {"weight": "W"},
    "gram-ai/capsule-networks:CapsuleLayer": {"weight": "route_weights", "logits": "route_logits"},
    "adambielski/CapsNet-pytorch:CapsLayer": {"weight": "weights", "logits": "routing_module.b"},
    "teju85/capsnet:Capsule": {"weight": "W"},
    "labmlai/annotated_deep_learning_paper_implementations:Router": {"weight": "weight"},
    "yongheng1991/3D-point-capsule-networks:LatentCapsLayer": {"weight": "W"},
    "leftthomas/CapsuleLayer:CapsuleLinear-shared": {"weight": "weight"},
    "timomernick/pytorch-capsule:CapsuleLayer": {"weight": "W"},
    "cedrickchee/capsule-net-pytorch:CapsuleLayer": {"weight": "W"},
    "higgsfield/Capsule-Network-Tutorial:DigitCaps": {"weight": "W"},
    "jindongwang/Pytorch-CapsuleNet:DigitCaps": {"weight": "W"},
    "nii-yamagishilab/Capsule-Forensics-v2:RoutingLayer": {"weight": "route_weights"},
}
SR_CAPSNET = "coder3000/SR-CapsNet:DynamicRouting2d"
SEPARATE = "leftthomas/CapsuleLayer:CapsuleLinear-separate"
EASY_REC = "alibaba/TorchEasyRec:CapsuleLayer"
RECHUB = [f"datawhalechina/torch-rechub:CapsuleNetwork-{kind}" for kind in range(3)]
GRAM_AI = "gram-ai/capsule-networks:CapsuleNet"
FLAT = ("XifengGuo/CapsNet-Pytorch:CapsuleNet", "danielhavir/capsule-network:CapsuleNetwork")


def assert_equal(actual: Tensor, expected: Tensor) -> None:
    assert actual.shape == expected.shape
    expected = expected.detach()
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-12 * float(expected.abs().max()))


def test_every_source_has_a_test() -> None:
    assert {*LAYERS, *NETWORKS, SR_CAPSNET, SEPARATE, EASY_REC, *RECHUB} == set(sources())


def converted(state: dict[str, Tensor], source: str, **keywords: Any) -> dict[str, Tensor]:
    """With the sizes that the shapes do not tell."""
    told = {"J": J} if source.startswith(("teju85", "coder3000")) or source in RECHUB[1:] else {}
    return convert_state_dict(state, source, **keywords, **told)


@pytest.mark.parametrize("source", LAYERS)
def test_layers_give_the_same_outputs_and_gradients(source: str) -> None:
    """Of those with a fault, what they would give without it."""
    keys, repository = LAYERS[source], source.split(":")[0]
    row = next(row for row in ROWS + DIFFERENCES if row.name in (repository, f"{repository}:shared, `dynamic`"))
    tensors = row.tensors(torch.float64)
    options = {"learnable_logits": "logits" in keys, **module_options(source)}
    layer = CapsuleLayer(I, d, J, D, **options, dtype=torch.float64)
    layer.load_state_dict(converted({key: tensors[name] for name, key in keys.items()}, source))
    fault = {"fault": False} if row in DIFFERENCES else {}
    results = []
    for function in (layer, partial(row.theirs, **{name: tensors[name] for name in keys}, **fault)):
        x = tensors["x"].clone().requires_grad_()
        found = function(x)
        output = found[0] if isinstance(found, tuple) else found
        output.backward(random(*output.shape))
        results.append((output.detach(), x.grad))
    for actual, expected in zip(*results, strict=True):
        assert_equal(actual, expected)


def test_a_layer_in_a_convolution() -> None:
    row = next(row for row in rows_conv.ROWS if row.name in SR_CAPSNET)
    x, weight = row.tensors(torch.float64).values()
    layer = ConvCapsules2d(rows_conv.C, d, J, D, rows_conv.K, **module_options(SR_CAPSNET), dtype=torch.float64)
    layer.load_state_dict(converted({"W": weight}, SR_CAPSNET))
    assert_equal(layer(x.unflatten(1, (rows_conv.C, d))).flatten(1, 2), row.theirs(x, weight))


@pytest.mark.parametrize("source", RECHUB)
def test_interests_of_torch_rechub(source: str) -> None:
    """The module as its replacement, which is tested beside the original."""
    module = CapsuleNetwork(d, I, int(source[-1]), J).double()
    torch.nn.init.normal_(next(p for name, p in module.named_parameters() if "relu" not in name))
    layer = InterestCapsules(d, J, max_items=I, **module_options(source), dtype=torch.float64)
    layer.load_state_dict(converted(module.state_dict(), source, drop=["relu.*"]))
    expected = replacement(module)
    assert repr(layer) == repr(expected)
    assert torch.equal(layer.weight, expected.weight)


def test_votes_of_what_routes_otherwise() -> None:
    """TorchEasyRec's logits are others; leftthomas' separate layer is stated with k_means alone."""
    x, matrix, weight = random(B, I, d), random(d, D), random(J, I, D, d)
    interests = InterestCapsules(d, J, D, **module_options(EASY_REC), dtype=torch.float64)
    interests.load_state_dict(convert_state_dict({"bilinear_matrix": matrix}, EASY_REC))
    assert_equal(prediction_vectors(x, interests.weight)[:, :, 0], x @ matrix)
    layer = CapsuleLayer(I, d, J, D, **module_options(SEPARATE), dtype=torch.float64)
    layer.load_state_dict(convert_state_dict({"weight": weight}, SEPARATE))
    assert_equal(prediction_vectors(x, layer.weight), torch.einsum("jiDd,bid->bijD", weight, x))


def capsnet(source: str, learned: bool) -> CapsNet:
    options = {"decoder_sizes": HIDDEN, **module_options(source), "dtype": torch.float64}
    if source not in FLAT:
        return CapsNet(**SIZES, **{**options, "learnable_logits": learned})
    net = CapsNet(**SIZES, decoder_sizes=HIDDEN, dtype=torch.float64)
    with pytest.raises(RuntimeError, match=r"primary\.flat_conv\.weight"):
        net.load_state_dict(convert_state_dict(NETWORKS[source].state_dict(), source))
    net.primary = FlatPrimaryCapsules(CHANNELS, TYPES * d, d, KERNEL, squash="norm_eps", dtype=torch.float64)
    net.classes = CapsuleLayer(I, d, J, D, **module_options(source), dtype=torch.float64)
    return net


@pytest.mark.parametrize(("source", "learned"), [
    *((source, bool(network.logits)) for source, network in NETWORKS.items()), (GRAM_AI, False),
])  # fmt: skip
def test_networks_give_the_same_outputs(source: str, learned: bool) -> None:
    """Class capsules, their gradient on the images, and reconstructions."""
    network, net = NETWORKS[source], capsnet(source, learned)
    state = network.state_dict()
    if not learned:
        state.pop(network.logits, None)
    net.load_state_dict(converted(state, source))
    images = random(B, 1, *IMAGE).requires_grad_()
    capsules, reconstruction = network(state, images)
    found = net(images)
    assert_equal(found.capsules, capsules)
    grad = random(*capsules.shape)
    actual, expected = (torch.autograd.grad(c, images, grad, retain_graph=True)[0] for c in (found.capsules, capsules))
    assert_equal(actual, expected)
    if reconstruction is None:
        assert found.reconstruction is None
    else:
        assert_equal(found.reconstruction.flatten(1), reconstruction)


def test_flat_primary_capsules_lie_across_channels() -> None:
    layer = FlatPrimaryCapsules(2, 5, 3, 3, 1, dtype=torch.float64)
    features = random(2, 2, 7, 5)  # 5 channels of 15 positions
    maps = layer.flat_conv(features)
    capsules = layer(features)
    assert capsules.shape == (2, 25, 3)
    assert_equal(capsules[:, 5], under_root(1e-8)(maps[:, 1, 0, :3]))
    with pytest.raises(ValueError, match=r"size must divide the 75 outputs of the convolution, got 4"):
        FlatPrimaryCapsules(2, 5, 4, 3, 1, dtype=torch.float64)(features)
    with pytest.raises(ValueError, match="size must be at least 1, got 0"):
        FlatPrimaryCapsules(2, 5, 0)
    with pytest.raises(ValueError, match="squash must be one of"):
        FlatPrimaryCapsules(2, 5, 5, squash="l2")


def test_flat_primary_capsules_of_half_precision() -> None:
    layer = FlatPrimaryCapsules(2, 5, 3, 3, 1).bfloat16()
    features = random(2, 2, 7, 5).bfloat16()
    capsules = layer(features)
    assert capsules.dtype == torch.bfloat16
    expected = under_root(1e-8)(layer.flat_conv(features).float().reshape(2, -1, 3))
    torch.testing.assert_close(capsules.float(), expected, rtol=1e-2, atol=1e-6)


DENSE = "XifengGuo/CapsNet-Pytorch:DenseCapsule"


def test_a_layer_inside_a_checkpoint_by_its_prefix() -> None:
    state = NETWORKS["XifengGuo/CapsNet-Pytorch:CapsuleNet"].state_dict()
    for prefix in ("digitcaps", "digitcaps."):
        found = convert_state_dict(state, DENSE, prefix)
        assert found.keys() == {"weight"}
        assert torch.equal(found["weight"], state["digitcaps.weight"].transpose(0, 1))


def test_wrappers_are_taken_off() -> None:
    weight = random(J, I, D, d)
    for wrapper in ("module.", "_orig_mod.", "_orig_mod.module."):
        assert "weight" in convert_state_dict({f"{wrapper}weight": weight}, DENSE)
        assert "weight" in convert_state_dict({f"{wrapper}caps.weight": weight}, DENSE, "caps")


def test_a_module_of_that_name_is_no_wrapper() -> None:
    with pytest.raises(ValueError, match=r"missing: weight; with no place in it: module\.weight, other"):
        convert_state_dict({"module.weight": random(J, I, D, d), "other": random(2)}, DENSE)


def test_nothing_is_copied_that_need_not_be() -> None:
    weight = random(J, I, D, d).requires_grad_()
    found = convert_state_dict({"weight": weight}, DENSE)["weight"]
    assert found.data_ptr() == weight.data_ptr()
    assert not found.requires_grad


def test_dtype_and_device_stay() -> None:
    weight = torch.empty(J, I, D, d, dtype=torch.bfloat16, device="meta")
    found = convert_state_dict({"weight": weight}, DENSE)["weight"]
    assert (found.dtype, found.device.type, found.shape) == (torch.bfloat16, "meta", (I, J, D, d))


def test_missing_and_extra_keys_are_all_listed() -> None:
    state = NETWORKS[GRAM_AI].state_dict()
    del state["primary_capsules.capsules.1.weight"], state["decoder.2.bias"]
    state |= {"decoder.6.weight": random(1), "extra": random(1)}
    with pytest.raises(ValueError, match="are not those of 'gram-ai/capsule-networks:CapsuleNet'") as error:
        convert_state_dict(state, GRAM_AI)
    assert "missing: primary_capsules.capsules.1.weight, decoder.2.bias;" in str(error.value)
    assert "with no place in it: decoder.6.weight, extra (name them in drop" in str(error.value)


def test_only_what_is_named_is_dropped() -> None:
    state = {"weight": random(J, I, D, d), "extra.a": random(1), "extra.b": random(1), "more": random(1)}
    with pytest.raises(ValueError, match=r"with no place in it: more \("):
        convert_state_dict(state, DENSE, drop=["extra.*"])
    assert convert_state_dict(state, DENSE, drop=["extra.*", "more"]).keys() == {"weight"}


def test_keys_of_a_group_are_missed_once_one_is_there() -> None:
    source = "adambielski/CapsNet-pytorch:CapsNetWithReconstruction"
    state = NETWORKS["adambielski/CapsNet-pytorch:CapsNet"].state_dict()
    with pytest.raises(ValueError, match=r"missing: capsnet\.conv1\.weight, .*reconstruction_net\.fc3\.bias; with no"):
        convert_state_dict(state, source)


def test_shapes_are_held_against_each_other() -> None:
    source = "adambielski/CapsNet-pytorch:CapsLayer"
    state = {"weights": random(I, d, J * D), "routing_module.b": random(I + 1, J)}
    with pytest.raises(ValueError, match=r"state_dict\['routing_module\.b'\] .* the shape \[6, 5\], got \[7, 5"):
        convert_state_dict(state, source)
    state = {"weights": random(I, d, J * D + 1), "routing_module.b": random(I, J)}
    with pytest.raises(ValueError, match=r"state_dict\['weights'\] .* the shape \[6, 4, 5\*D\], got \[6, 4, 16"):
        convert_state_dict(state, source)
    with pytest.raises(ValueError, match=r"state_dict\['weight'\] .* must have the shape \[J, I, D, d\], got \[5, 6\]"):
        convert_state_dict({"weight": random(J, I)}, DENSE)


def test_stacked_tensors_have_one_shape() -> None:
    state = NETWORKS["Officium/Capsules:CapsuleNet"].state_dict()
    state["second.1.bias"] = random(2)
    with pytest.raises(ValueError, match=r"state_dict\['second\.\*\.bias'\] must all have one shape, got \[3\], \[2\]"):
        convert_state_dict(state, "Officium/Capsules:CapsuleNet")


def test_sizes_are_asked_for_and_checked() -> None:
    source, state = "teju85/capsnet:Capsule", {"W": random(I, d, J * D)}
    with pytest.raises(ValueError, match=r"state_dict\['W'\] .* does not tell the size of D, J"):
        convert_state_dict(state, source)
    with pytest.raises(ValueError, match=r"must have the shape \[6, 4, 4\*D\], got"):
        convert_state_dict(state, source, J=4)
    with pytest.raises(ValueError, match=r"'teju85/capsnet:Capsule' has no axis K"):
        convert_state_dict(state, source, J=J, K=1)
    with pytest.raises(TypeError, match="size J must be an int"):
        convert_state_dict(state, source, J=3.0)  # type: ignore[arg-type]


def test_bad_input() -> None:
    weight = random(J, I, D, d)
    with pytest.raises(
        ValueError, match=r"unknown source 'XifengGuo/CapsNet-Pytorch'. Did you mean 'XifengGuo/"
    ) as error:
        convert_state_dict({"weight": weight}, "XifengGuo/CapsNet-Pytorch")
    assert all(source in str(error.value) for source in sources())
    with pytest.raises(ValueError, match="unknown source 'x'"):
        module_options("x")
    with pytest.raises(TypeError, match="state_dict must be a mapping of tensors, got list"):
        convert_state_dict([{"weight": weight}], DENSE)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="'model' is a dict: is the state dict itself inside"):
        convert_state_dict({"model": {"weight": weight}}, DENSE)  # type: ignore[dict-item]
    with pytest.raises(ValueError, match=r"begins with prefix 'caps\.'; its keys are weight"):
        convert_state_dict({"weight": weight}, DENSE, "caps")


def test_options_are_the_callers_own() -> None:
    module_options(DENSE)["gradient"] = "all"
    assert module_options(DENSE)["gradient"] == "last"
