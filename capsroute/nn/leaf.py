"""Layers as single nodes of the graphs that ``torch.fx`` traces."""

from __future__ import annotations

from typing import Any

from torch import nn

from capsroute.routing import checks, proxies

__all__ = ["Leaf"]


class Leaf(nn.Module):
    """Base class of layers that look at sizes, which a proxy does not have: torch.fx gets a node for the call.

    That holds for every tracer, whatever it takes for a leaf. A layer that is traced by itself is the one node of its
    graph.
    """

    @property
    def _itself(self) -> nn.Module:
        """The layer by a name, as the graph of a layer that is traced by itself needs one."""
        return self

    def __prepare_scriptable__(self) -> Any:
        """What ``torch.jit.script`` asks for.

        Raises:
            TypeError: Always: TorchScript compiles a part of Python in which no option is a keyword.
        """
        raise proxies.not_scriptable(type(self).__name__)

    def _node(self, name: str, value: object, /, *others: object, **keywords: object) -> Any:
        """The node of a call whose first argument is no tensor.

        Raises:
            TypeError: It is no proxy of torch.fx either.
        """
        tracer: Any = getattr(value, "tracer", None) if proxies.is_proxy(value) else None
        if tracer is None:
            checks.dense(name, value)  # says what it is instead
        path = "_itself" if tracer.root is self else tracer.path_of_module(self)
        given = {key: argument for key, argument in keywords.items() if argument is not None}
        return tracer.create_proxy("call_module", path, (value, *others), given)
