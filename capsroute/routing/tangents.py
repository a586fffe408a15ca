"""Beside all floors: which tensors carry a tangent of forward-mode differentiation, and who must not lose it.

A tensor with a tangent need not require a gradient, and no_grad does not stop it. The kernels compute none: a call with
one is taken by the definition, see :mod:`.definition`, and what cannot be taken by it is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch._functorch import eager_transforms
from torch.autograd import forward_ad


@torch.compiler.assume_constant_result  # torch.compile opens levels while it traces, and must not guard on this one
def _level_is_open() -> bool:
    return forward_ad._current_level >= 0


def are_given(tensors: Sequence[Tensor | None]) -> bool:
    """Whether one of the tensors has a tangent, or may have one where transforms or traces hide it."""
    if not _level_is_open():
        return False
    if torch.compiler.is_compiling() or torch._C._are_functorch_transforms_active():
        return True
    return any(tensor is not None and has_one(tensor) for tensor in tensors)


def has_one(tensor: Tensor) -> bool:
    """Whether the tensor has a tangent at the open level, if there is one."""
    return _level_is_open() and forward_ad.unpack_dual(tensor).tangent is not None


class Refusal(NamedTuple):
    """What a registered op says that would lose tangents."""

    op: str  # its name in torch.ops.capsroute
    function: str  # the public one that has the derivative

    def by(self, run: Callable[..., Any]) -> Callable[..., Any]:
        """The implementation of the op, which takes its arguments by position, refusing tangents."""

        def checked(*arguments: Any) -> Any:
            if _level_is_open():
                if eager_transforms.JVP_NESTING > 0:  # torch.func keeps the tangents where no implementation sees them
                    raise RuntimeError(self._sentence("an argument may have"))
                for place, argument in enumerate(arguments):
                    if isinstance(argument, Tensor) and has_one(argument):
                        name = getattr(torch.ops.capsroute, self.op).default._schema.arguments[place].name
                        raise RuntimeError(self._sentence(f"{name} has"))
            return run(*arguments)

        return checked

    def by_rule(self, rule: Callable[..., Any]) -> Callable[..., Any]:
        """The vmap rule of the op, which does not see the tangents of what is mapped: refuses wherever there may be."""

        def checked(*arguments: Any) -> Any:
            if _level_is_open():
                raise RuntimeError(self._sentence("an argument may have"))
            return rule(*arguments)

        return checked

    def _sentence(self, who_has: str) -> str:
        return (
            f"{who_has} a tangent of forward-mode differentiation, which torch.ops.capsroute.{self.op} would lose: "
            f"call capsroute.{self.function} or capsroute.reference.{self.function}, and where torch.compile is used, "
            "compile the differentiation with the call"
        )
