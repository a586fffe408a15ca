"""Converted state dicts give the outputs of the modules that they come from, and nothing of them is lost silently."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from capsroute.reference import prediction_vectors
from torch import Tensor, nn

from capsroute.layouts import FlatPrimaryCapsules, convert_state_dict, module_options, sources
from capsroute.models import CapsNet
from capsroute.nn import CapsuleLayer, InterestCapsules

from . import public_modules as public
from .public_modules import Sizes

B, I, d, J, D = 3, 8, 4, 3, 5  # noqa: E741 - the letters of the axis strings
SIZES = (I, d, J, D)

# Source, a module of it, sizes that the shapes do not tell, arguments beside module_options.
LAYERS: list[tuple[str, nn.Module, dict[str, int], dict[str, Any]]] = [
    ("XifengGuo/CapsNet-Pytorch:DenseCapsule", public.XifengGuoDenseCapsule(*SIZES), {}, {}),
    ("danielhavir/capsule-network:RoutingCapsules", public.DanielHavirRoutingCapsules(*SIZES), {}, {}),
    ("gram-ai/capsule-networks:CapsuleLayer", public.GramAiCapsuleLayer(*SIZES), {}, {}),
    (
        "gram-ai/capsule-networks:CapsuleLayer",
        public.GramAiCapsuleLayer(*SIZES, learned=True),
        {},
        {"learnable_logits": True},
    ),
    ("adambielski/CapsNet-pytorch:CapsLayer", public.AdamBielskiCapsLayer(*SIZES), {}, {"iterations": 3}),
    ("adambielski/CapsNet-pytorch:CapsLayer", public.AdamBielskiCapsLayer(*SIZES, 0), {}, {"iterations": 1}),
    ("teju85/capsnet:Capsule", public.Teju85Capsule(*SIZES), {"J": J}, {}),
    ("labmlai/annotated_deep_learning_paper_implementations:Router", public.LabmlRouter(*SIZES), {}, {}),
    ("coder3000/SR-CapsNet:DynamicRouting2d", public.SrCapsNetDynamicRouting2d(*SIZES), {"J": J}, {}),
    ("yongheng1991/3D-point-capsule-networks:LatentCapsLayer", public.LatentCapsLayer(*SIZES), {}, {}),
    ("leftthomas/CapsuleLayer:CapsuleLinear-shared", public.LeftThomasCapsuleLinear(*SIZES, True), {}, {}),
    ("leftthomas/CapsuleLayer:CapsuleLinear-separate", public.LeftThomasCapsuleLinear(*SIZES, False), {}, {}),
]

VOTES_ALONE = [  # what happens to the votes is known to differ
    "timomernick/pytorch-capsule:CapsuleLayer",
    "cedrickchee/capsule-net-pytorch:CapsuleLayer",
    "higgsfield/Capsule-Network-Tutorial:DigitCaps",
    "jindongwang/Pytorch-CapsuleNet:DigitCaps",
]

FORENSICS = "nii-yamagishilab/Capsule-Forensics-v2:RoutingLayer"
EASY_REC = "alibaba/TorchEasyRec:CapsuleLayer"

NETWORKS: list[tuple[str, nn.Module, dict[str, int], dict[str, Any]]] = [
    ("gram-ai/capsule-networks:CapsuleNet", public.GramAiCapsuleNet(), {}, {}),
    ("gram-ai/capsule-networks:CapsuleNet", public.GramAiCapsuleNet(learned=True), {}, {"learnable_logits": True}),
    ("Officium/Capsules:CapsuleNet", public.OfficiumCapsuleNet(), {}, {}),
    ("adambielski/CapsNet-pytorch:CapsNet", public.AdamBielskiCapsNet(), {}, {}),
    (
        "adambielski/CapsNet-pytorch:CapsNetWithReconstruction",
        public.AdamBielskiCapsNetWithReconstruction(),
        {},
        {},
    ),
    ("teju85/capsnet:CapsuleNetwork", public.Teju85CapsuleNetwork(), {"J": Sizes.classes}, {}),
    (
        "labmlai/annotated_deep_learning_paper_implementations:MNISTCapsuleNetworkModel",
        public.LabmlModel(),
        {},
        {},
    ),
]

FLAT_NETWORKS: list[tuple[str, nn.Module]] = [
    ("XifengGuo/CapsNet-Pytorch:CapsuleNet", public.XifengGuoCapsuleNet()),
    ("danielhavir/capsule-network:CapsuleNetwork", public.DanielHavirCapsuleNetwork()),
]

RECHUB = [f"datawhalechina/torch-rechub:CapsuleNetwork-{kind}" for kind in range(3)]


def named(cases: list[Any]) -> list[Any]:
    return [pytest.param(*case, id=f"{case[0]}-{k}") for k, case in enumerate(cases)]


def randomized(module: nn.Module) -> nn.Module:
    """The module in float64 with random parameters, of a size that makes routing matter."""
    generator = torch.Generator().manual_seed(3)
    module = module.double()
    with torch.no_grad():
        for parameter in module.parameters():
            scale = parameter.shape[-1] ** -0.5 if parameter.dim() > 1 else 0.3
            parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64) * scale)
    return module


def random(*shape: int) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(4))


def assert_equal(actual: Tensor, expected: Tensor) -> None:
    assert actual.shape == expected.shape
    expected = expected.detach()
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-12 * float(expected.abs().max()))


def small_capsnet(**options: Any) -> CapsNet:
    s = Sizes
    config: dict[str, Any] = {"decoder_sizes": s.hidden, **options}
    return CapsNet(
        image_size=s.image,
        conv_channels=s.channels,
        conv_kernel=s.kernel,
        primary_types=s.types,
        primary_size=s.size,
        primary_kernel=s.kernel,
        classes=s.classes,
        capsule_size=s.capsule,
        dtype=torch.float64,
        **config,
    )


def assert_same_network(net: CapsNet, module: nn.Module) -> None:
    """Class capsules, their gradient on the images, and reconstructions."""
    images = random(B, 1, Sizes.image, Sizes.image).requires_grad_()
    capsules, reconstruction = module(images)
    found = net(images)
    assert_equal(found.capsules, capsules)
    grad = random(*capsules.shape)
    actual, expected = (torch.autograd.grad(c, images, grad, retain_graph=True)[0] for c in (found.capsules, capsules))
    assert_equal(actual, expected)
    if reconstruction is None:
        assert found.reconstruction is None
    else:
        assert_equal(found.reconstruction.flatten(1), reconstruction)


def test_every_source_has_a_test() -> None:
    tested = [case[0] for case in (*LAYERS, *NETWORKS, *FLAT_NETWORKS)]
    assert {*tested, *VOTES_ALONE, FORENSICS, EASY_REC, *RECHUB} == set(sources())


@pytest.mark.parametrize(("source", "module", "sizes", "options"), named(LAYERS))
def test_layers_give_the_same_outputs_and_gradients(
    source: str, module: nn.Module, sizes: dict[str, int], options: dict[str, Any]
) -> None:
    module = randomized(module)
    layer = CapsuleLayer(*SIZES, **{**module_options(source), **options}, dtype=torch.float64)
    layer.load_state_dict(convert_state_dict(module.state_dict(), source, **sizes))
    x, grad = random(B, I, d), random(B, J, D)
    results = []
    for function in (layer, module):
        leaf = x.clone().requires_grad_()
        output = function(leaf)
        output.backward(grad)
        results.append((output.detach(), leaf.grad))
    for actual, expected in zip(*results, strict=True):
        assert_equal(actual, expected)


@pytest.mark.parametrize("source", VOTES_ALONE)
def test_layers_give_the_same_votes(source: str) -> None:
    module = randomized(public.BatchSharedLayer(*SIZES))
    layer = CapsuleLayer(*SIZES, **module_options(source), dtype=torch.float64)
    layer.load_state_dict(convert_state_dict(module.state_dict(), source))
    x = random(B, I, d)
    assert_equal(prediction_vectors(x, layer.weight), module(x))


def test_forensics_gives_the_same_outputs_in_the_first_iteration() -> None:
    module = randomized(public.ForensicsRoutingLayer(*SIZES, num_iterations=1))
    layer = CapsuleLayer(*SIZES, **{**module_options(FORENSICS), "iterations": 1}, dtype=torch.float64)
    layer.load_state_dict(convert_state_dict(module.state_dict(), FORENSICS))
    x = random(B, I, d)
    assert_equal(layer(x), module(x.mT).mT)
    module.num_iterations = 2  # its logits are per component from here on
    layer = CapsuleLayer(*SIZES, **module_options(FORENSICS), dtype=torch.float64)
    layer.load_state_dict(convert_state_dict(module.state_dict(), FORENSICS))
    assert not torch.allclose(layer(x), module(x.mT).mT, atol=1e-3)


@pytest.mark.parametrize("kind", range(3))
def test_interests_of_torch_rechub(kind: int) -> None:
    module = randomized(public.RechubCapsuleNetwork(d, I, J, kind))
    converted = convert_state_dict(
        module.state_dict(), RECHUB[kind], drop=["relu.*"], **({} if kind == 0 else {"J": J})
    )
    layer = InterestCapsules(d, J, max_items=I, **module_options(RECHUB[kind]), dtype=torch.float64)
    layer.load_state_dict(converted)
    items, logits = random(B, I, d), random(B, J, I)
    mask = torch.ones(B, I, dtype=torch.int64)
    mask[0, 5:] = mask[1, 1:] = 0
    assert_equal(layer(items, mask, logits=logits.mT), module(items, mask, logits))


def test_interests_of_torch_easy_rec_have_the_same_votes() -> None:
    matrix = random(d, D)
    layer = InterestCapsules(d, J, D, **module_options(EASY_REC), dtype=torch.float64)
    layer.load_state_dict(convert_state_dict({"bilinear_matrix": matrix}, EASY_REC))
    items = random(B, I, d)
    assert_equal(prediction_vectors(items, layer.weight)[:, :, 0], items @ matrix)


@pytest.mark.parametrize(("source", "module", "sizes", "options"), named(NETWORKS))
def test_networks_give_the_same_outputs(
    source: str, module: nn.Module, sizes: dict[str, int], options: dict[str, Any]
) -> None:
    module = randomized(module)
    net = small_capsnet(**{**module_options(source), **options})
    net.load_state_dict(convert_state_dict(module.state_dict(), source, **sizes))
    assert_same_network(net, module)


@pytest.mark.parametrize(("source", "module"), named(FLAT_NETWORKS))
def test_networks_with_flat_primary_capsules_give_the_same_outputs(source: str, module: nn.Module) -> None:
    s = Sizes
    module = randomized(module)
    converted = convert_state_dict(module.state_dict(), source)
    net = small_capsnet()
    with pytest.raises(RuntimeError, match=r"primary\.flat_conv\.weight"):
        net.load_state_dict(converted)
    net.primary = FlatPrimaryCapsules(
        s.channels, s.types * s.size, s.size, s.kernel, squash="norm_eps", dtype=torch.float64
    )
    net.classes = CapsuleLayer(s.inputs, s.size, s.classes, s.capsule, **module_options(source), dtype=torch.float64)
    net.load_state_dict(converted)
    assert_same_network(net, module)


def test_flat_primary_capsules_lie_across_channels() -> None:
    layer = FlatPrimaryCapsules(2, 5, 3, 3, 1, dtype=torch.float64)
    features = random(2, 2, 7, 5)  # 5 channels of 15 positions
    maps = layer.flat_conv(features)
    capsules = layer(features)
    assert capsules.shape == (2, 25, 3)
    assert_equal(capsules[:, 5], public.squash_root_eps(maps[:, 1, 0, :3]))
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
    expected = public.squash_root_eps(layer.flat_conv(features).float().reshape(2, -1, 3))
    torch.testing.assert_close(capsules.float(), expected, rtol=1e-2, atol=1e-6)


DENSE = "XifengGuo/CapsNet-Pytorch:DenseCapsule"


def test_a_layer_inside_a_checkpoint_by_its_prefix() -> None:
    module = randomized(public.XifengGuoCapsuleNet())
    for prefix in ("digitcaps", "digitcaps."):
        converted = convert_state_dict(module.state_dict(), DENSE, prefix)
        assert converted.keys() == {"weight"}
        assert torch.equal(converted["weight"], module.digitcaps.weight.detach().transpose(0, 1))


@pytest.mark.parametrize("wrapper", ["module.", "_orig_mod.", "_orig_mod.module."])
def test_wrappers_are_taken_off(wrapper: str) -> None:
    weight = random(J, I, D, d)
    for prefix, name in (("", ""), ("caps", "caps.")):
        assert "weight" in convert_state_dict({f"{wrapper}{name}weight": weight}, DENSE, prefix)


def test_a_module_of_that_name_is_no_wrapper() -> None:
    with pytest.raises(ValueError, match=r"missing: weight; with no place in it: module\.weight, other"):
        convert_state_dict({"module.weight": random(J, I, D, d), "other": random(2)}, DENSE)


def test_nothing_is_copied_that_need_not_be() -> None:
    weight = random(J, I, D, d).requires_grad_()
    converted = convert_state_dict({"weight": weight}, DENSE)["weight"]
    assert converted.data_ptr() == weight.data_ptr()
    assert not converted.requires_grad


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_dtype_and_device_stay(dtype: torch.dtype) -> None:
    weight = torch.empty(J, I, D, d, dtype=dtype, device="meta")
    converted = convert_state_dict({"weight": weight}, DENSE)["weight"]
    assert (converted.dtype, converted.device.type, converted.shape) == (dtype, "meta", (I, J, D, d))


def test_missing_and_extra_keys_are_all_listed() -> None:
    state = randomized(public.GramAiCapsuleNet()).state_dict()
    del state["primary_capsules.capsules.1.weight"], state["decoder.2.bias"]
    state |= {"decoder.6.weight": random(1), "extra": random(1)}
    with pytest.raises(ValueError, match="are not those of 'gram-ai/capsule-networks:CapsuleNet'") as error:
        convert_state_dict(state, "gram-ai/capsule-networks:CapsuleNet")
    assert "missing: primary_capsules.capsules.1.weight, decoder.2.bias;" in str(error.value)
    assert "with no place in it: decoder.6.weight, extra (name them in drop" in str(error.value)


def test_only_what_is_named_is_dropped() -> None:
    state = {"weight": random(J, I, D, d), "extra.a": random(1), "extra.b": random(1), "more": random(1)}
    with pytest.raises(ValueError, match=r"with no place in it: more \("):
        convert_state_dict(state, DENSE, drop=["extra.*"])
    assert convert_state_dict(state, DENSE, drop=["extra.*", "more"]).keys() == {"weight"}


def test_keys_of_a_group_are_missed_once_one_is_there() -> None:
    source = "adambielski/CapsNet-pytorch:CapsNetWithReconstruction"
    state = randomized(public.AdamBielskiCapsNet()).state_dict()
    with pytest.raises(ValueError, match=r"missing: capsnet\.conv1\.weight, .*reconstruction_net\.fc3\.bias; with no"):
        convert_state_dict(state, source)


def test_shapes_are_held_against_each_other() -> None:
    source = "adambielski/CapsNet-pytorch:CapsLayer"
    state = {"weights": random(I, d, J * D), "routing_module.b": random(I + 1, J)}
    with pytest.raises(ValueError, match=r"state_dict\['routing_module\.b'\] .* the shape \[8, 3\], got \[9, 3"):
        convert_state_dict(state, source)
    state = {"weights": random(I, d, J * D + 1), "routing_module.b": random(I, J)}
    with pytest.raises(ValueError, match=r"state_dict\['weights'\] .* the shape \[8, 4, 3\*D\], got \[8, 4, 16"):
        convert_state_dict(state, source)
    with pytest.raises(ValueError, match=r"state_dict\['weight'\] .* must have the shape \[J, I, D, d\], got \[3, 8\]"):
        convert_state_dict({"weight": random(J, I)}, DENSE)


def test_stacked_tensors_have_one_shape() -> None:
    state = randomized(public.OfficiumCapsuleNet()).state_dict()
    state["second.1.bias"] = random(2)
    with pytest.raises(ValueError, match=r"state_dict\['second\.\*\.bias'\] must all have one shape, got \[5\], \[2\]"):
        convert_state_dict(state, "Officium/Capsules:CapsuleNet")


def test_sizes_are_asked_for_and_checked() -> None:
    source, state = "teju85/capsnet:Capsule", {"W": random(I, d, J * D)}
    with pytest.raises(ValueError, match=r"state_dict\['W'\] .* does not tell the size of D, J"):
        convert_state_dict(state, source)
    with pytest.raises(ValueError, match=r"must have the shape \[8, 4, 4\*D\], got"):
        convert_state_dict(state, source, J=4)
    with pytest.raises(ValueError, match=r"'teju85/capsnet:Capsule' has no axis K"):
        convert_state_dict(state, source, J=3, K=1)
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
