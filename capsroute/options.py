"""The options of a routing op: one table, from which the flat arguments of the registered ops are packed."""

from __future__ import annotations

from dataclasses import dataclass

SOFTMAX_AXES = ("outputs", "inputs")
GRADIENTS = ("all", "last")
BACKENDS = ("reference", "cpu", "cuda", "cuda_emulated")


@dataclass(frozen=True)
class RoutingOptions:
    """Everything about a call that is not a tensor. The defaults are those of the public functions."""

    iterations: int = 3
    softmax_over: str = "outputs"
    leaky: bool = False
    gradient: str = "all"
    eps: float = 1e-8
    backend: str = "cpu"

    def with_backend(self, backend: str) -> RoutingOptions:
        """The same options for another backend."""
        return RoutingOptions(self.iterations, self.softmax_over, self.leaky, self.gradient, self.eps, backend)

    def integers(self) -> list[int]:
        """The ``int[]`` argument of the ops. New options go to the end, so that exported programs stay valid."""
        return [
            self.iterations,
            SOFTMAX_AXES.index(self.softmax_over),
            int(self.leaky),
            GRADIENTS.index(self.gradient),
            BACKENDS.index(self.backend),
        ]

    def floats(self) -> list[float]:
        """The ``float[]`` argument of the ops."""
        return [float(self.eps)]

    @classmethod
    def unpack(cls, integers: list[int], floats: list[float]) -> RoutingOptions:
        """The inverse of packing. Short lists come from older exported programs: defaults follow."""
        default = cls()
        iterations, axis, leaky, gradient, backend = [*integers, *default.integers()[len(integers) :]]
        (eps,) = [*floats, *default.floats()[len(floats) :]]
        return cls(iterations, SOFTMAX_AXES[axis], bool(leaky), GRADIENTS[gradient], eps, BACKENDS[backend])
