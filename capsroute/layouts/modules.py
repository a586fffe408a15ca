"""The state dicts of public modules, as data: which key becomes which, in which layout.

Letters of the axis strings: I, J, D, d as everywhere; ``c`` capsule types, ``p`` positions, ``o, x, y, z`` what is only
carried along. Their sizes follow from all tensors of a state dict together.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

__all__ = ["SOURCES", "Entry", "Source"]


class Entry(NamedTuple):
    """One tensor of the source."""

    key: str
    """In the source. ``*`` stands for numbers from 0; what they name is stacked along a new first axis."""
    target: str
    """Key in the module of capsroute."""
    axes: str = ""
    """``"FROM->TO"``; empty where nothing changes."""
    group: str = ""
    """Name of a group of keys that a state dict has all of or none of; empty for what it always has."""


class Source(NamedTuple):
    """A public module, and what it becomes."""

    target: str
    """Modules of capsroute that load the converted state dict."""
    entries: tuple[Entry, ...]
    options: Mapping[str, Any]
    """Arguments, beside the sizes, with which these modules give the same outputs."""
    remark: str = ""


_LAYER = "CapsuleLayer"
_INTERESTS = "InterestCapsules"
_NETWORK = "CapsNet"
_FLAT_NETWORK = "CapsNet with FlatPrimaryCapsules and CapsuleLayer"

_NO_EPS = {"eps": 0.0}
_OVER_INPUTS = {"softmax_over": "inputs", **_NO_EPS}
_NORM_EPS = {"gradient": "last", "squash": "norm_eps"}

_RECHUB = {"softmax_over": "inputs", "mask_after_softmax": True}
_RECHUB_REMARK = "drop relu.0.weight where relu_layer=False"


def _layer(key: str, axes: str) -> Entry:
    return Entry(key, "weight", axes)


def _copied(*pairs: tuple[str, str]) -> tuple[Entry, ...]:
    """Weight and bias of layers that stay as they are."""
    kinds = ("weight", "bias")
    return tuple(Entry(f"{old}.{kind}", f"{new}.{kind}") for old, new in pairs for kind in kinds)


def _decoder(layer: str, *numbers: int) -> tuple[Entry, ...]:
    """The three linear layers of the decoder; ``layer`` holds ``{}`` for the number."""
    return _copied(*((layer.format(n), f"decoder.layers.{2 * k}") for k, n in enumerate(numbers)))


def _primary(layer: str, channels: str, stacked: bool = False) -> tuple[Entry, ...]:
    """The convolution of the primary capsules; ``channels`` are the source's: ``cd`` is our order."""
    before = ",".join(channels) if stacked else channels
    return (
        Entry(f"{layer}.weight", "primary.conv.weight", f"{before},x,y,z->cd,x,y,z"),
        Entry(f"{layer}.bias", "primary.conv.bias", f"{before}->cd"),
    )


_SHARED_LOGITS = Source(
    _LAYER,
    (_layer("W", "1,I,J,D,d->I,J,D,d"),),
    _OVER_INPUTS,
    "its logits are shared by the batch and its squash takes another axis: outputs differ",
)
# They become weight, and logits where those are learned.
_LAYERS: dict[str, Source] = {
    "XifengGuo/CapsNet-Pytorch:DenseCapsule": Source(_LAYER, (_layer("weight", "J,I,D,d->I,J,D,d"),), _NORM_EPS),
    "danielhavir/capsule-network:RoutingCapsules": Source(_LAYER, (_layer("W", "1,J,I,D,d->I,J,D,d"),), _NORM_EPS),
    "gram-ai/capsule-networks:CapsuleLayer": Source(
        _LAYER,
        (
            _layer("route_weights", "J,I,d,D->I,J,D,d"),
            Entry("route_logits", "logits", "J,1,I,1,1->I,J", "logits"),
        ),
        _OVER_INPUTS,
        "learnable_logits=True where the state dict has route_logits",
    ),
    "adambielski/CapsNet-pytorch:CapsLayer": Source(
        _LAYER,
        (_layer("weights", "I,d,JD->I,J,D,d"), Entry("routing_module.b", "logits", "I,J->I,J")),
        {"learnable_logits": True, **_NO_EPS},
        "iterations = its n_iterations + 1",
    ),
    "teju85/capsnet:Capsule": Source(
        _LAYER, (_layer("W", "I,d,JD->I,J,D,d"),), _NO_EPS, 'give J; gradient="last" where it was made with detach'
    ),
    "labmlai/annotated_deep_learning_paper_implementations:Router": Source(
        _LAYER, (_layer("weight", "I,J,d,D->I,J,D,d"),), {"softmax_over": "inputs"}
    ),
    "coder3000/SR-CapsNet:DynamicRouting2d": Source(
        "CapsuleLayer, ConvCapsules2d",
        (_layer("W", "I,JD,d->I,J,D,d"),),
        _NO_EPS,
        "give J; I = window positions x types, types innermost",
    ),
    "yongheng1991/3D-point-capsule-networks:LatentCapsLayer": Source(
        _LAYER, (_layer("W", "J,I,D,d->I,J,D,d"),), {"gradient": "last", **_NO_EPS}
    ),
    "leftthomas/CapsuleLayer:CapsuleLinear-shared": Source(
        _LAYER,
        (_layer("weight", "J,D,d->1,J,D,d"),),
        {"weight_sets": 1, **_NO_EPS},
        'routing_type="dynamic", squash=True',
    ),
    "leftthomas/CapsuleLayer:CapsuleLinear-separate": Source(
        _LAYER, (_layer("weight", "J,I,D,d->I,J,D,d"),), _NO_EPS, 'routing_type="dynamic", squash=True'
    ),
    "nii-yamagishilab/Capsule-Forensics-v2:RoutingLayer": Source(
        _LAYER,
        (_layer("route_weights", "J,I,D,d->I,J,D,d"),),
        {"iterations": 2, **_OVER_INPUTS},
        "its logits are per component: outputs differ from the second iteration on; capsules in and out transposed",
    ),
    "timomernick/pytorch-capsule:CapsuleLayer": _SHARED_LOGITS,
    "cedrickchee/capsule-net-pytorch:CapsuleLayer": _SHARED_LOGITS,
    "higgsfield/Capsule-Network-Tutorial:DigitCaps": _SHARED_LOGITS,
    "jindongwang/Pytorch-CapsuleNet:DigitCaps": _SHARED_LOGITS,
    "datawhalechina/torch-rechub:CapsuleNetwork-0": Source(
        _INTERESTS, (_layer("linear.weight", "D,d->1,1,D,d"),), {"bilinear_type": 0, **_RECHUB}, _RECHUB_REMARK
    ),
    "datawhalechina/torch-rechub:CapsuleNetwork-1": Source(
        _INTERESTS,
        (_layer("linear.weight", "JD,d->1,J,D,d"),),
        {"bilinear_type": 1, **_RECHUB},
        f"give J; {_RECHUB_REMARK}",
    ),
    "datawhalechina/torch-rechub:CapsuleNetwork-2": Source(
        _INTERESTS, (_layer("w", "1,I,JD,d->I,J,D,d"),), {"bilinear_type": 2, **_RECHUB}, f"give J; {_RECHUB_REMARK}"
    ),
    "alibaba/TorchEasyRec:CapsuleLayer": Source(
        _INTERESTS,
        (_layer("bilinear_matrix", "d,D->1,1,D,d"),),
        {"bilinear_type": 0},
        "its logits go on from the coupling coefficients, not from the logits: outputs differ",
    ),
}


def _network(
    layer: str,
    conv: str,
    primary: tuple[Entry, ...],
    classes: str,
    decoder: tuple[Entry, ...] = (),
    options: Mapping[str, Any] | None = None,
) -> Source:
    """A network with one of the layers under the key ``classes``; its options are that layer's unless given."""
    flat = any("flat" in entry.target for entry in primary)
    entries = []
    for key, target, axes, group in _LAYERS[layer].entries:
        if not flat:  # positions before types
            before, after = axes.split("->")
            axes = f"{before.replace('I', 'cp')}->{after.replace('I', 'pc')}"
        entries.append(Entry(f"{classes}.{key}", f"classes.{target}", axes, group))
    return Source(
        _FLAT_NETWORK if flat else _NETWORK,
        (*_copied((conv, "conv")), *primary, *entries, *decoder),
        _LAYERS[layer].options if options is None else options,
        _LAYERS[layer].remark.replace("n_iterations", "routing_iterations"),
    )


_SEQUENTIAL = _decoder("decoder.{}", 0, 2, 4)
_LABML = "labmlai/annotated_deep_learning_paper_implementations"
SOURCES: dict[str, Source] = {
    **_LAYERS,
    # Primary capsules that are groups of channels, as ours are, in another order.
    "gram-ai/capsule-networks:CapsuleNet": _network(
        "gram-ai/capsule-networks:CapsuleLayer",
        "conv1",
        _primary("primary_capsules.capsules.*", "dc", stacked=True),
        "digit_capsules",
        _SEQUENTIAL,
    ),
    "Officium/Capsules:CapsuleNet": Source(
        _NETWORK,
        (
            *_copied(("first.0", "conv")),
            *_primary("second.*", "dc", stacked=True),
            Entry("third", "classes.weight", "J,cp,d,D->pc,J,D,d"),
            *_SEQUENTIAL,
        ),
        _OVER_INPUTS,
    ),
    "adambielski/CapsNet-pytorch:CapsNet": _network(
        "adambielski/CapsNet-pytorch:CapsLayer",
        "conv1",
        _primary("primaryCaps.conv", "cd"),
        "digitCaps",
        options={"learnable_logits": True, "decoder_sizes": None, **_NO_EPS},
    ),
    "adambielski/CapsNet-pytorch:CapsNetWithReconstruction": _network(
        "adambielski/CapsNet-pytorch:CapsLayer",
        "capsnet.conv1",
        _primary("capsnet.primaryCaps.conv", "cd"),
        "capsnet.digitCaps",
        _decoder("reconstruction_net.fc{}", 1, 2, 3),
    ),
    "teju85/capsnet:CapsuleNetwork": _network(
        "teju85/capsnet:Capsule", "c1", _primary("convcaps.c1", "cd"), "caps", _decoder("decoder.fc{}", 1, 2, 3)
    ),
    f"{_LABML}:MNISTCapsuleNetworkModel": _network(
        f"{_LABML}:Router", "conv1", _primary("conv2", "dc"), "digit_capsules", _SEQUENTIAL
    ),
    # Primary capsules that are neighbours in memory, across positions: no reordering makes them ours.
    "XifengGuo/CapsNet-Pytorch:CapsuleNet": _network(
        "XifengGuo/CapsNet-Pytorch:DenseCapsule",
        "conv1",
        _copied(("primarycaps.conv2d", "primary.flat_conv")),
        "digitcaps",
        _SEQUENTIAL,
    ),
    "danielhavir/capsule-network:CapsuleNetwork": _network(
        "danielhavir/capsule-network:RoutingCapsules",
        "conv1",
        _copied(("primary.conv", "primary.flat_conv")),
        "digits",
        _SEQUENTIAL,
    ),
}
