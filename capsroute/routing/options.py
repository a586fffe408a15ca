"""Beside all floors: the options of a routing call, in one table; what the arguments of the ops are packed from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypedDict

if TYPE_CHECKING:
    from torch import Tensor

SOFTMAX_AXES = ("outputs", "inputs")
GRADIENTS = ("all", "last", "detached_votes")  # Gradient of csrc/capsroute.h
SQUASHES = ("standard", "norm_eps", "clamped", "shifted", "exponential", "power", "none")  # Squash of csrc/capsroute.h
LOGIT_UPDATES = ("accumulate", "replace")
DETAILS = ("coupling", "pre_squash", "agreement")
BACKENDS = ("reference", "cpu", "cuda", "cuda_emulated")
CUDA_KERNELS = ("automatic", "plain", "fused")  # CudaKernel of csrc/capsroute.h
CUDA_FUSIONS = ("automatic", "grid", "cluster", "launches")  # CudaFusion of csrc/capsroute.h
MOST_TEMPERATURES = 32  # kTemperatures of csrc/capsroute.h

_TF32 = (False, True, None)
_SQUASH_CONSTANTS = {"shifted": 0.5, "power": 1.0}  # of those that have one


class RoutingKeywords(TypedDict, total=False):
    """The keyword arguments of the public functions that are not tensors and say how to route."""

    iterations: int
    softmax_over: str
    leaky: bool
    gradient: str
    eps: float
    squash: str
    squash_constant: float | None
    logit_update: str
    agreement_factor: float
    temperature: float | tuple[float, ...]


class AllKeywords(RoutingKeywords, total=False):
    """All keyword arguments of the public functions but ``details``."""

    logits: Tensor | None
    input_mask: Tensor | None
    output_mask: Tensor | None
    input_weight: Tensor | None
    coupling: Tensor | None


class RoutingOptions(NamedTuple):
    """Everything about a call that is not a tensor. The defaults are those of the public functions."""

    iterations: int = 3
    softmax_over: str = "outputs"
    leaky: bool = False
    gradient: str = "all"
    eps: float = 1e-8
    squash: str = "standard"
    squash_constant: float | None = None  # None: that of the squash, see _SQUASH_CONSTANTS
    logit_update: str = "accumulate"
    agreement_factor: float = 1.0
    temperature: float | tuple[float, ...] = 1.0  # one for all iterations, or one for each
    coupling_given: bool = False  # the tensor in the place of the initial logits is the coupling; nothing is routed
    squash_output: bool = True  # False: the output is s of the last iteration
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
            SQUASHES.index(self.squash),
            LOGIT_UPDATES.index(self.logit_update),
            int(self.coupling_given),
            int(self.squash_output),
        ]

    def floats(self) -> list[float]:
        """The ``float[]`` argument of the ops: eps, constant of the squash, agreement factor, temperatures."""
        return [float(self.eps), self.constant_of_squash(), float(self.agreement_factor), *self.temperatures()]

    def constant_of_squash(self) -> float:
        """The number in the formula of the squash; 1 where it has none."""
        given = self.squash_constant
        return float(_SQUASH_CONSTANTS.get(self.squash, 1.0) if given is None else given)

    def temperatures(self) -> tuple[float, ...]:
        """One for all iterations, or one for each."""
        given = self.temperature
        return tuple(map(float, given)) if isinstance(given, tuple) else (float(given),)

    def keywords(self) -> RoutingKeywords:
        """The part that is passed on by keyword."""
        return {name: getattr(self, name) for name in RoutingKeywords.__annotations__}  # type: ignore[return-value]

    def given(self) -> dict[str, object]:
        """Iterations, and what else differs from the defaults: for people to read."""
        own = self.keywords().items()
        return {name: value for name, value in own if name == "iterations" or value != getattr(DEFAULTS, name)}

    @classmethod
    def unpack(cls, integers: list[int], floats: list[float]) -> RoutingOptions:
        """The inverse of packing. Short lists come from older exported programs: defaults follow."""
        numbers = [*integers, *_DEFAULT_INTEGERS[len(integers) :]]
        iterations, axis, leaky, gradient, backend, tf32, kernel, fusion, squash, update, given, squash_output = numbers
        eps, constant, factor, *temperatures = [*floats, *_DEFAULT_FLOATS[len(floats) :]]
        return cls(
            iterations=iterations,
            softmax_over=SOFTMAX_AXES[axis],
            leaky=bool(leaky),
            gradient=GRADIENTS[gradient],
            eps=eps,
            squash=SQUASHES[squash],
            squash_constant=constant if SQUASHES[squash] in _SQUASH_CONSTANTS else None,
            logit_update=LOGIT_UPDATES[update],
            agreement_factor=factor,
            temperature=temperatures[0] if len(temperatures) == 1 else tuple(temperatures),
            coupling_given=bool(given),
            squash_output=bool(squash_output),
            backend=BACKENDS[backend],
            allow_tf32=_TF32[tf32],
            cuda_kernel=CUDA_KERNELS[kernel],
            cuda_fusion=CUDA_FUSIONS[fusion],
        )


DEFAULTS = RoutingOptions()
_DEFAULT_INTEGERS = DEFAULTS.integers()
_DEFAULT_FLOATS = DEFAULTS.floats()


def hashable(temperature: Any) -> Any:
    """A temperature as the options hold it: a sequence of numbers becomes a tuple, anything else stays."""
    if isinstance(temperature, (float, tuple, str)) or not isinstance(temperature, Sequence):
        return temperature
    return tuple(temperature)


def constants_of_squash() -> tuple[str, ...]:
    """The kinds of squash that have a constant."""
    return tuple(_SQUASH_CONSTANTS)
