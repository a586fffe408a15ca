"""What packages around PyTorch, and PyTorch's own tools, do with a module."""

from __future__ import annotations

import copy
import math
import os
import pickle
import tempfile

import torch
from torch import nn
from torch.nn.utils import parametrizations
from torch.utils.flop_counter import FlopCounterMode

from capsroute import testing

from .columns import COLUMNS, Answer, Case, tensors
from .door import door, same, total

_LAYERS = (nn.Linear, nn.Conv2d, nn.Embedding)  # whose weights are none of ours


@door("`copy.deepcopy`")
def deepcopy(case: Case) -> None:
    same(copy.deepcopy(case.module)(*case.inputs(3)), case.module(*case.inputs(3)), 0, 0)


@door("`pickle`, of the module and of its output")
def pickled(case: Case) -> None:
    module, output = pickle.loads(pickle.dumps((case.module, case.module(*case.inputs(3)))))
    expected = case.module(*case.inputs(3))
    assert type(output) is type(expected)
    same(output, expected, 0, 0)
    same(module(*case.inputs(3)), expected, 0, 0)


@door("weights by safetensors and `load_state_dict`", "safetensors")
def safetensors(case: Case) -> None:
    from safetensors.torch import load_file, save_file

    other = COLUMNS[case.name].make().eval()
    with tempfile.TemporaryDirectory() as folder:
        save_file(case.module.state_dict(), f"{folder}/weights.safetensors")
        other.load_state_dict(load_file(f"{folder}/weights.safetensors"))
    same(other(*case.inputs(3)), case.module(*case.inputs(3)), 0, 0)


@door("`half()` and `bfloat16()`")
def half(case: Case) -> None:
    expected, *_ = tensors(case.module(*case.inputs(3)))
    for dtype in (torch.float16, torch.bfloat16):
        module = copy.deepcopy(case.module).to(dtype)
        output = module(*(t.to(dtype) if t.is_floating_point() else t for t in case.inputs(3)))
        first, *_ = tensors(output)
        assert first.dtype == dtype
        assert (first - expected).norm() < 0.2 * expected.norm()  # bfloat16 has two digits, and ten layers
        total(output).backward()
        assert all(p.grad.isfinite().all() for p in module.parameters())


@door("`quantize_dynamic`, the linear layers")
def quantized(case: Case) -> None:
    module = torch.ao.quantization.quantize_dynamic(case.module, {nn.Linear}, dtype=torch.qint8)
    (first, *_), (expected, *_) = tensors(module(*case.inputs(3))), tensors(case.module(*case.inputs(3)))
    assert (first - expected).norm() < 0.1 * expected.norm()


@door("`weight_norm`, `spectral_norm` and `orthogonal` on the weights of our layers")
def parametrized(case: Case) -> None:
    expected = case.module(*case.inputs(3))
    for name, keeps in (("weight_norm", True), ("spectral_norm", False), ("orthogonal", False)):
        module = copy.deepcopy(case.module)
        layers = [m for m in module.modules() if isinstance(getattr(m, "weight", None), nn.Parameter)]
        for layer in layers:
            if layer.weight.dim() == 4 and not isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
                getattr(parametrizations, name)(layer, "weight")
        output = module(*case.inputs(3))
        if keeps:
            same(output, expected)
        total(output).backward()
        assert all(p.grad.isfinite().all() for p in module.parameters() if p.grad is not None)


@door("`FlopCounterMode` counts the routing")
def flops(case: Case) -> None:
    with FlopCounterMode(display=False) as counter:
        total(case.module(*case.inputs(3))).backward()
    counted = {str(op): count for op, count in counter.get_flop_counts()["Global"].items()}
    assert sum(count for op, count in counted.items() if op.startswith("capsroute.")) > 0, counted


@door("`torchinfo.summary`", "torchinfo")
def torchinfo(case: Case) -> None:
    from torchinfo import summary

    found = summary(case.module, input_data=case.inputs(3), verbose=0)
    assert found.total_params == sum(p.numel() for p in case.module.parameters())


@door("`captum`: integrated gradients", "captum")
def captum(case: Case) -> None:
    """As by the definition; ids of items have no derivative, so there it is taken to their embeddings."""
    from captum.attr import IntegratedGradients, LayerIntegratedGradients

    module, x = Answer(case.module, first=True), case.inputs(3)
    scores = lambda *given: module(*given).flatten(1).sum(1)  # noqa: E731
    found = []
    for name in ("cpu", "reference"):
        with testing.backend(name):
            if case.reals:
                found.append(IntegratedGradients(scores).attribute(x[0], additional_forward_args=x[1:], n_steps=4))
            else:
                found.append(LayerIntegratedGradients(scores, case.module.embedding).attribute(x[0], n_steps=4))
    assert found[0].abs().max() > 0
    same(found[0], found[1], rtol=1e-3)


@door("Keras 3 on torch: a step of `fit`, and `predict`", "keras", quick=())
def keras(case: Case) -> None:
    os.environ.setdefault("KERAS_BACKEND", "torch")
    import keras

    assert keras.backend.backend() == "torch"
    keras.backend.set_image_data_format("channels_first")
    x = case.inputs(4)
    inputs = [keras.Input(t.shape[1:], dtype=str(t.dtype).removeprefix("torch.")) for t in x]
    expected, *_ = tensors(case.module(*x))
    wrapper = keras.layers.TorchModuleWrapper(Answer(case.module, first=True), output_shape=(None, *expected.shape[1:]))
    model = keras.Model(inputs, wrapper(*inputs))
    model.compile(optimizer="sgd", loss="mse")
    same(torch.as_tensor(model.predict([t.numpy() for t in x], verbose=0)), expected)
    before = [p.detach().clone() for p in case.module.parameters()]
    loss = model.fit([t.numpy() for t in x], torch.zeros_like(expected).detach().numpy(), verbose=0).history["loss"]
    assert all(math.isfinite(value) for value in loss)
    assert any(not torch.equal(a, b) for a, b in zip(before, case.module.parameters(), strict=True))
