"""The table of cases: inputs and options of routing calls, which tests, gradient checks and kernels share."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, make_dataclass, replace
from typing import Any

import torch
from torch import Tensor

from capsroute.routing.options import DEFAULTS, PUBLIC, ROWS
from capsroute.routing.values import OneOf

from ..covering import covering_rows
from ..lanes import EVERYTHING, FEW

Tensors = dict[str, Tensor]
Routing = Callable[..., Tensor]


ENTRIES = ("dynamic_routing", "route_votes")
DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)


# Options whose values go into a case as they are. Of the others a case has names that say more, or none.
_NAMED = ("softmax_over", "leaky", "squash_constant", "temperature")
PLAIN = [name for name in PUBLIC if name not in _NAMED]
_Options: Any = make_dataclass(
    "_Options", [(name, Any, field(default=getattr(DEFAULTS, name))) for name in PLAIN], frozen=True, kw_only=True
)


@dataclass(frozen=True)
class Case(_Options):
    """One call: sizes (B, I, d, J, D), number of weights I_w, which optional tensors are given, and the options.

    Function and dtype are those of :meth:`arguments`; a test may ask for others.
    """

    sizes: tuple[int, int, int, int, int]
    weights: str | int = "own"  # "own" (I_w = I), "shared" (I_w = 1), "half" (I_w = I / 2) or I_w itself
    bias: bool = False
    logits: str = "none"  # "none", "shared" [I, J] or "sample" [B, I, J]
    input_weight: bool = False
    input_mask: bool = False
    output_mask: bool = False
    softmax: str = "outputs"  # "outputs", "leaky" (over outputs) or "inputs"
    # "one", "low" (0.7 throughout), "falling" (from 1.6, by a fifth each time) or the argument itself
    temperature: str | float | tuple[float, ...] = "one"
    given: bool = False  # the logits are the coupling
    squash_constant: float | None = None  # None: one that is not the default
    entry: str = "dynamic_routing"
    dtype: torch.dtype = torch.float32

    def __str__(self) -> str:
        named = [f"{k}{v}" for k, v in zip(("B", "I", "d", "J", "D"), self.sizes, strict=True)]
        switches = [n for n in ("bias", "input_mask", "output_mask", "input_weight", "given") if getattr(self, n)]
        kinds = [name for name in PLAIN if name not in ("gradient", "iterations", "eps")]
        switches += [str(getattr(self, n)) for n in kinds if getattr(self, n) != getattr(DEFAULTS, n)]
        switches += [str(self.temperature)] if self.temperature != "one" else []
        texts = [f"W_{self.weights}", f"logits_{self.logits}", self.softmax, self.gradient, f"T{self.iterations}"]
        kind = (self.entry, str(self.dtype).removeprefix("torch."))
        return "-".join(["".join(named), *texts, *switches, f"eps{self.eps:g}", *kind])

    def arguments(self, dtype: torch.dtype | None = None) -> Tensors:
        """The tensor arguments of its function, in its own dtype or another, on torch's default device."""
        tensors = self.tensors(self.dtype if dtype is None else dtype)
        return votes_of(tensors) if self.entry == "route_votes" else tensors

    def votes(self) -> int:
        """Number of vote components, B·I·J·D."""
        batch, inputs, _, outputs, out_size = self.sizes
        return batch * inputs * outputs * out_size

    def options(self) -> dict[str, Any]:
        """The keyword arguments that are not tensors."""
        return {
            **{name: getattr(self, name) for name in PLAIN},
            "softmax_over": "inputs" if self.softmax == "inputs" else "outputs",
            "leaky": self.softmax == "leaky",
            "squash_constant": {"shifted": 0.5, "power": 1.3}.get(self.squash)
            if self.squash_constant is None
            else self.squash_constant,
            "temperature": {
                "one": 1.0,
                "low": 0.7,
                "falling": tuple(1.6 * 0.8**t for t in range(self.iterations)),
            }.get(self.temperature, self.temperature),
        }

    def tensors(self, dtype: torch.dtype = torch.float64, seed: int = 0) -> Tensors:
        """The tensor arguments of ``dynamic_routing``, on torch's default device.

        Votes have a length near 2 whatever the sizes, near 1 where nothing keeps the outputs short, and less where a
        temperature makes the logits larger: couplings get far from uniform, and yet rounding errors are not amplified
        until they hide those of a kernel.
        """
        batch, inputs, in_size, outputs, out_size = self.sizes
        generator = torch.Generator().manual_seed(seed)

        def normal(*shape: int, scale: float = 1.0) -> Tensor:
            return (_normal(shape, generator) * scale).to(torch.get_default_device(), dtype)

        own = {"own": inputs, "shared": 1, "half": max(inputs // 2, 1)}.get(self.weights, self.weights)
        tensors = {"x": normal(batch, inputs, in_size), "weight": normal(own, outputs, out_size, in_size)}
        temperature = self.options()["temperature"]
        coldest = min(temperature) if isinstance(temperature, tuple) else temperature
        length = (1 if self.squash == "none" else 2) * min(1, coldest)
        tensors["weight"] *= length * (in_size * out_size) ** -0.5
        if self.bias:
            tensors["bias"] = normal(outputs, out_size, scale=0.3)
        if self.logits != "none":
            lead = () if self.logits == "shared" else (batch,)
            tensors["coupling" if self.given else "logits"] = normal(*lead, inputs, outputs)
        if self.input_weight:
            tensors["input_weight"] = normal(batch, inputs)
        if self.input_mask:
            tensors["input_mask"] = _mask(batch, inputs, generator, empty=0)
        if self.output_mask:
            tensors["output_mask"] = _mask(batch, outputs, generator, empty=-1)
        return tensors

    def output_gradient(self, dtype: torch.dtype = torch.float64, seed: int = 1) -> Tensor:
        """A gradient of the output, ``[B, J, D]``."""
        batch, _, _, outputs, out_size = self.sizes
        generator = torch.Generator().manual_seed(seed)
        return _normal((batch, outputs, out_size), generator).to(torch.get_default_device(), dtype)


def _normal(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Made on the CPU, so that every device gets the same numbers."""
    return torch.randn(*shape, generator=generator, dtype=torch.float64, device="cpu")


def _mask(batch: int, capsules: int, generator: torch.Generator, empty: int) -> Tensor:
    """A random mask [B, capsules]; in a batch of at least three the sample ``empty`` has no capsule at all."""
    mask = torch.rand(batch, capsules, generator=generator, device="cpu") < 0.7
    if batch >= 3:
        mask[empty] = False
    return mask.to(torch.get_default_device())


def votes_of(tensors: Tensors) -> Tensors:
    """The same arguments for ``route_votes``: x and weight replaced by the votes [B, I, J, D] in the same dtype."""
    rest = dict(tensors)
    x, weight = rest.pop("x"), rest.pop("weight")
    own = torch.arange(x.shape[1]) % weight.shape[0]
    votes = torch.einsum("ijpq,biq->bijp", weight[own].double(), x.double()).to(x.dtype).contiguous()
    return {"votes": votes, **rest}


def to(tensors: Tensors, dtype: torch.dtype) -> Tensors:
    """The floating-point tensors in ``dtype``, masks as they are."""
    return {name: t.to(dtype) if t.is_floating_point() else t for name, t in tensors.items()}


def evaluate(function: Routing, tensors: Tensors, options: dict[str, Any], grad: Tensor) -> Tensors:
    """``output`` of ``function`` and the gradient of each floating-point argument, by its name.

    The arguments keep their strides and storage offsets. Where one plays no part, as logits do not that were replaced,
    its gradient is 0.
    """
    leaves = {n: t.detach().requires_grad_() if t.is_floating_point() else t for n, t in tensors.items()}
    differentiable = [n for n, t in leaves.items() if t.requires_grad]
    output = function(**leaves, **options)
    grads = torch.autograd.grad(output, [leaves[n] for n in differentiable], grad, materialize_grads=True)
    return {"output": output.detach(), **dict(zip(differentiable, grads, strict=True))}


def _tried(name: str) -> list[Any]:
    kind, default = ROWS[name].kind, getattr(DEFAULTS, name)
    return [default, *(kind.names if isinstance(kind, OneOf) else ROWS[name].tried)]


FACTORS: dict[str, list[Any]] = {
    "softmax": ["outputs", "leaky", "inputs"],
    "logits": ["none", "shared", "sample"],
    "weights": ["own", "shared", "half"],
    **{name: list(dict.fromkeys(_tried(name))) for name in PLAIN},
    **{name: [False, True] for name in ("bias", "input_mask", "output_mask", "input_weight")},
    "temperature": ["one", "low", "falling"],
    "entry": list(ENTRIES),
    "dtype": list(DTYPES),
}

_OPTION_SIZES = [(3, 6, 4, 5, 3), (17, 8, 8, 10, 16), (33, 4, 1, 11, 9), (5, 12, 3, 2, 7), (16, 10, 5, 1, 4)]


@functools.cache
def option_cases() -> list[Case]:
    """Rows in which every two values of every two options, functions and dtypes meet, with sizes taken in turn."""
    rows = covering_rows(FACTORS)
    return [Case(_OPTION_SIZES[n % len(_OPTION_SIZES)], **row) for n, row in enumerate(rows)]


def coupling_cases() -> list[Case]:
    """Given coupling coefficients with everything that goes with them."""
    everything = {"bias": True, "input_mask": True, "output_mask": True, "input_weight": True, "weights": "half"}
    cases = []
    for k, sizes in enumerate(_OPTION_SIZES):
        for logits in ("shared", "sample"):
            squash = FACTORS["squash"][(2 * k + len(cases)) % len(FACTORS["squash"])]
            more = everything if len(cases) % 2 else {}
            cases.append(Case(sizes, logits=logits, given=True, iterations=1, squash=squash, **more))
    return cases


def other(case: Case) -> Case:
    """The same call of the other function, and in another dtype."""
    return replace(
        case,
        entry=ENTRIES[1 - ENTRIES.index(case.entry)],
        dtype=DTYPES[(DTYPES.index(case.dtype) + 1) % len(DTYPES)],
    )


def of_every_kind(case: Case) -> list[Case]:
    """The same call of both functions in all dtypes."""
    return [replace(case, entry=entry, dtype=dtype) for entry in ENTRIES for dtype in DTYPES]


_SIZES = [
    [1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33, 37, 64, 65],  # B
    [1, 2, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 129, 257],  # I
    [*range(1, 18), 31, 32, 33, 64, 65],  # d
    [1, 2, 3, 7, 8, 9, 10, 11, 15, 16, 17, 31, 32, 33, 64, 65],  # J
    [*range(1, 18), 31, 32, 33, 63, 64, 65],  # D
]
_SEVERAL_SIZES = [(1, 1, 1, 1, 1), (37, 33, 5, 7, 12), (33, 65, 8, 10, 16), (17, 129, 9, 11, 17), (65, 17, 16, 3, 33)]
_KINDS: list[dict[str, Any]] = [
    {"iterations": 3},
    {"softmax": "inputs", "bias": True, "logits": "shared", "iterations": 3},
    {"softmax": "leaky", "input_mask": True, "gradient": "last", "logits": "sample", "iterations": 2},
]
# Most in float32, whose kernels have most ways; votes are given where d, which they do not have, is as it was.
_TYPES = [torch.float32, torch.float32, torch.bfloat16, torch.float32, torch.float64]


def size_cases() -> Iterator[list[Case]]:
    """One size at a time through 1, primes and the neighbourhood of powers of two, each in three kinds of routing."""
    base = (3, 5, 3, 4, 5)
    by_one = [(*base[:axis], value, *base[axis + 1 :]) for axis, values in enumerate(_SIZES) for value in values]
    for n, sizes in enumerate([*by_one, *_SEVERAL_SIZES]):
        entry = ENTRIES[n % 2 if sizes[2] == base[2] else 0]
        kinds = [_KINDS[(n + k) % len(_KINDS)] for k in range(len(_KINDS))]
        yield [Case(sizes, entry=entry, dtype=_TYPES[(n + k) % len(_TYPES)], **kind) for k, kind in enumerate(kinds)]


def further_cases() -> Iterator[Case]:
    """Many iterations, weights that many inputs share, and no sample at all."""
    for n, (softmax, gradient) in enumerate(itertools.product(("outputs", "inputs"), ("all", "last"))):
        for iterations in (7, 9, 20):
            dtype = DTYPES[(n + iterations) % 2]
            yield Case(
                (18, 20, 5, 7, 6),
                softmax=softmax,
                gradient=gradient,
                iterations=iterations,
                logits="shared",
                dtype=dtype,
            )
    for softmax in ("outputs", "inputs"):
        for weights in ("shared", "half"):
            for inputs in (2, 6, 16, 34, 130):
                # The votes of many inputs with one matrix nearly cancel, and in a third iteration the result follows
                # the rounding.
                iterations = 3 if inputs < 100 else 2
                yield Case((19, inputs, 5, 3, 7), weights=weights, softmax=softmax, iterations=iterations)
    for logits in ("none", "shared", "sample"):
        for entry in ENTRIES:
            yield Case((0, 6, 4, 5, 3), bias=True, logits=logits, input_mask=True, output_mask=True, entry=entry)


def table() -> list[Case]:
    """All cases of the suite: one size in one kind of routing, and two functions and dtypes of each pair of options."""
    options = [*option_cases(), *coupling_cases()]
    if EVERYTHING:
        return [
            *(kind for case in options for kind in of_every_kind(case)),
            *(case for kinds in size_cases() for case in kinds),
            *further_cases(),
        ]
    changed = [*options, *map(other, options), *(kinds[0] for kinds in size_cases()), *further_cases()]
    return changed[::12] if FEW else changed


def amplifies(case: Case) -> bool:
    """Whether its iterations enlarge rounding until float64 is no truth for float64."""
    return case.iterations > 6
