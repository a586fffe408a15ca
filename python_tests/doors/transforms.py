"""torch.func and autograd's further ways."""

from __future__ import annotations

import torch
from torch.func import functional_call, grad, jvp, stack_module_state, vmap
from torch.utils.checkpoint import checkpoint

from .columns import COLUMNS, Answer, Case, Inputs, tensors
from .door import door, gradients, same, total


def _double(x: Inputs) -> Inputs:
    return tuple(t.double() if t.is_floating_point() else t for t in x)


@door("forward mode: `torch.func.jvp`")
def forward_mode(case: Case) -> None:
    """The derivative along a direction is the transpose of what backward computes, also where that leaves paths out."""
    module, x = case.module.double(), _double(case.inputs(3))
    parameters = {name: p.detach() for name, p in module.named_parameters()}
    along = {name: torch.randn_like(p) for name, p in parameters.items()}

    def outputs(p: dict[str, torch.Tensor]) -> tuple[torch.Tensor, ...]:
        return tuple(t for t in tensors(functional_call(module, p, x)) if t.is_floating_point())

    values, tangents = jvp(outputs, (parameters,), (along,))
    directions = [torch.randn_like(value) for value in values]
    eager = [t for t in tensors(module(*x)) if t.is_floating_point()]
    back = torch.autograd.grad(eager, list(module.parameters()), directions)
    forth = sum((t * d).sum() for t, d in zip(tangents, directions, strict=True))
    assert forth != 0
    same(forth, sum((g * along[name]).sum() for g, name in zip(back, parameters, strict=True)))


@door("`torch.func.vmap` over inputs")
def over_inputs(case: Case) -> None:
    x = tuple(torch.stack([t, t.flip(0)]) for t in case.inputs(3))
    module = Answer(case.module)
    each = [tensors(module(*(t[i] for t in x))) for i in range(2)]
    same(vmap(module)(*x), [torch.stack(both) for both in zip(*each, strict=True)])


@door(
    "gradients of each sample: `vmap(grad(…))`",
    apart={"ResNetCapsules": "torch 2.13 itself gives wrong gradients of a batch norm in eval mode there"},
)
def per_sample(case: Case) -> None:
    module, x = case.module, case.inputs(3)
    parameters = {name: p.detach() for name, p in module.named_parameters()}

    def loss(p: dict[str, torch.Tensor], *sample: torch.Tensor) -> torch.Tensor:
        return total(functional_call(module, p, tuple(t[None] for t in sample)))

    found = vmap(grad(loss), in_dims=(None, *(0 for _ in x)))(parameters, *x)
    each = [gradients(module(*(t[i : i + 1] for t in x)), case) for i in range(3)]
    same(list(found.values()), [torch.stack(all_) for all_ in zip(*each, strict=True)], rtol=1e-3)


@door("an ensemble: `stack_module_state`, `functional_call` and `vmap` over weights")
def ensemble(case: Case) -> None:
    models, x = [Answer(case.module), Answer(COLUMNS[case.name].make().eval())], case.inputs(3)
    found = vmap(lambda p, b: functional_call(models[0], (p, b), x))(*stack_module_state(models))
    each = (tensors(model(*x)) for model in models)
    same(found, [torch.stack(both) for both in zip(*each, strict=True)])


@door("`torch.utils.checkpoint`")
def checkpointed(case: Case) -> None:
    x = case.inputs(3)
    same(gradients(checkpoint(case.module, *x, use_reentrant=False), case), gradients(case.module(*x), case))


@door('`torch.autocast("cpu")`')
def autocast(case: Case) -> None:
    exact = case.module(*case.inputs(3))
    with torch.autocast("cpu", torch.bfloat16):
        rough = case.module(*case.inputs(3))
    assert all(t.isfinite().all() for t in gradients(rough, case))
    (first, *_), (expected, *_) = tensors(rough), tensors(exact)
    assert (first - expected).norm() < 0.1 * expected.norm()
