"""Hypothesis strategies of calls that are right."""

from __future__ import annotations

import torch
from hypothesis import strategies as st

from capsroute.routing.options import DETAILS, GRADIENTS, LOGIT_UPDATES, MOST_TEMPERATURES, SQUASHES
from python_tests.routing.cases import Case

from .call import LAYOUT_NAMES, VALUES, Call, divisors, factors
from .kernels import kernels

LARGEST = 70
# B·I·J·D, and that times d, of a call: milliseconds on each backend.
MOST_VOTES = {"cpu": 15_000, "cuda_emulated": 1_500}
MOST_PRODUCTS = {"cpu": 150_000, "cuda_emulated": 15_000}
DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)

_rarely = st.integers(0, 7).map(lambda n: n == 7)
_sometimes = st.integers(0, 2).map(lambda n: n == 2)
_edges = st.sampled_from((15, 16, 17, 31, 32, 33, 63, 64, 65))
_size = st.one_of(st.integers(1, 6), st.integers(1, 9), st.integers(1, 20), _edges, st.integers(1, LARGEST))
_batch = st.one_of(_size, _size, _size, st.integers(0, LARGEST))
_constants = {"shifted": (None, 0.5, 1.0, 0.1), "power": (None, 1.0, 0.5, 2.0)}


@st.composite
def sizes(draw: st.DrawFn, backend: str) -> tuple[int, int, int, int, int]:
    """(B, I, d, J, D), the largest of them halved until the whole is cheap."""
    found = [draw(_batch), *(draw(_size) for _ in range(4))]
    while True:
        batch, inputs, in_size, outputs, out_size = found
        votes = max(batch, 1) * inputs * outputs * out_size
        if votes > MOST_VOTES[backend]:
            found[max((0, 1, 3, 4), key=found.__getitem__)] //= 2
        elif votes * in_size > MOST_PRODUCTS[backend]:
            found[2] //= 2
        else:
            return batch, inputs, in_size, outputs, out_size


@st.composite
def temperatures(draw: st.DrawFn, iterations: int) -> str | float | tuple[float, ...]:
    """What stands in ``Case.temperature``."""
    names: list[str | float] = ["one", "one", "low", 0.4, 2.5]
    if iterations > MOST_TEMPERATURES:
        return draw(st.sampled_from(names))
    each = st.floats(0.4, 3).map(lambda t: round(t, 2))
    return draw(
        st.one_of(
            st.sampled_from([*names, "falling"]),
            st.lists(each, min_size=iterations, max_size=iterations).map(tuple),
            each.map(lambda t: (t,)),
        )
    )


@st.composite
def cases(draw: st.DrawFn, backend: str) -> Case:
    """Sizes, tensors and options that go together."""
    of = sizes(backend)
    size = draw(of)
    given = draw(_rarely)
    iterations = 1 if given else draw(st.sampled_from((3, 1, 2, 2, 4, 5, 7)))
    squash = draw(st.sampled_from(SQUASHES))
    routing = (
        {}
        if given
        else {
            "softmax": draw(st.sampled_from(("outputs", "leaky", "inputs"))),
            "gradient": draw(st.sampled_from(GRADIENTS)),
            "logit_update": draw(st.sampled_from(LOGIT_UPDATES)),
            "agreement_factor": draw(st.sampled_from((1.0, 1.0, 0.6, 0.0, -0.5, 1.5))),
            "temperature": draw(temperatures(iterations)),
        }
    )
    return Case(
        size,
        weights=draw(st.sampled_from(divisors(size[1]))),
        bias=draw(st.booleans()),
        logits=draw(st.sampled_from(("shared", "sample") if given else ("none", "none", "shared", "sample"))),
        input_weight=draw(_sometimes),
        input_mask=draw(_sometimes),
        output_mask=draw(_sometimes),
        iterations=iterations,
        # Not 1, a length that capsules of integers have to the last bit: with "clamped" their gradient jumps there.
        eps=draw(st.sampled_from((1e-8, 0.0, 1e-2, 0.9371))),
        squash=squash,
        squash_constant=draw(st.sampled_from(_constants[squash])) if squash in _constants else None,
        given=given,
        **routing,
    )


def _names(entry: str, case: Case) -> list[str]:
    """The tensor arguments of a case that are there."""
    sources = ["votes"] if entry == "route_votes" else ["x", "weight"]
    logits = [] if case.logits == "none" else ["coupling" if case.given else "logits"]
    others = [name for name in ("bias", "input_weight", "input_mask", "output_mask") if getattr(case, name)]
    return [*sources, *logits, *others]


@st.composite
def calls(draw: st.DrawFn) -> Call:
    """Any call that is right."""
    kernel = draw(kernels())
    entry = draw(st.sampled_from(("dynamic_routing", "route_votes")))
    case = draw(cases(kernel.backend))
    names = _names(entry, case)
    floating = [name for name in names if not name.endswith("mask")]
    layouts = draw(st.dictionaries(st.sampled_from([*names, "grad"]), st.sampled_from(LAYOUT_NAMES), max_size=4))
    if layouts.get("x") == layouts.get("weight") == "expanded -1":
        del layouts["x"]  # products that are all equal add up worse one by one than by halves, see the page
    autocast = draw(_rarely)
    details = draw(st.lists(st.sampled_from(DETAILS), unique=True)) if draw(_sometimes) else []
    wanted = floating if draw(st.booleans()) else draw(st.lists(st.sampled_from(floating), unique=True))
    return Call(
        entry,
        kernel,
        case,
        dtype=draw(st.sampled_from(DTYPES)),
        values=draw(st.sampled_from(("normal", "normal", "normal", *VALUES))),
        axes=draw(st.sampled_from(factors(case.sizes[3]))) if draw(_rarely) else (),
        layouts=tuple(sorted(layouts.items())),
        poisoned=draw(st.booleans()),
        autocast=autocast,
        halves=tuple(draw(st.lists(st.sampled_from(floating), unique=True))) if autocast else (),
        differentiable=tuple(name for name in floating if name in wanted),
        details=tuple(details),
        seed=draw(st.integers(0, 2**16)),
    )
