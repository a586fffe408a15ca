"""The options of a routing call, in one table: what the arguments of the registered ops are packed from."""

from __future__ import annotations

from typing import NamedTuple

SOFTMAX_AXES = ("outputs", "inputs")
GRADIENTS = ("all", "last")
BACKENDS = ("reference", "cpu", "cuda", "cuda_emulated")
CUDA_KERNELS = ("automatic", "plain", "fused")  # CudaKernel of csrc/capsroute.h
CUDA_FUSIONS = ("automatic", "grid", "cluster", "launches")  # CudaFusion of csrc/capsroute.h

_TF32 = (False, True, None)


class RoutingOptions(NamedTuple):
    """Everything about a call that is not a tensor. The defaults are those of the public functions."""

    iterations: int = 3
    softmax_over: str = "outputs"
    leaky: bool = False
    gradient: str = "all"
    eps: float = 1e-8
    backend: str = "cpu"
    allow_tf32: bool | None = None  # for CUDA; None leaves it to torch's own switch at the time when the op runs
    cuda_kernel: str = "automatic"
    cuda_fusion: str = "automatic"

    def integers(self) -> list[int]:
        """The ``int[]`` argument of the ops. New options go to the end, so that exported programs stay valid."""
        return [
            self.iterations,
            SOFTMAX_AXES.index(self.softmax_over),
            int(self.leaky),
            GRADIENTS.index(self.gradient),
            BACKENDS.index(self.backend),
            _TF32.index(self.allow_tf32),
            CUDA_KERNELS.index(self.cuda_kernel),
            CUDA_FUSIONS.index(self.cuda_fusion),
        ]

    def floats(self) -> list[float]:
        """The ``float[]`` argument of the ops."""
        return [float(self.eps)]

    @classmethod
    def unpack(cls, integers: list[int], floats: list[float]) -> RoutingOptions:
        """The inverse of packing. Short lists come from older exported programs: defaults follow."""
        iterations, axis, leaky, gradient, backend, tf32, kernel, fusion = [*integers, *_DEFAULTS[len(integers) :]]
        eps = floats[0] if floats else cls().eps
        return cls(
            iterations,
            SOFTMAX_AXES[axis],
            bool(leaky),
            GRADIENTS[gradient],
            eps,
            BACKENDS[backend],
            _TF32[tf32],
            CUDA_KERNELS[kernel],
            CUDA_FUSIONS[fusion],
        )


_DEFAULTS = RoutingOptions().integers()
