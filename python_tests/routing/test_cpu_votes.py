"""How the CPU kernels get at their votes: made in every pass, or kept for a tile or for a wave of samples.

That each way computes the same is shown by all tests with an argument ``kernel``; here is which way a call takes.
"""

from __future__ import annotations

import threading
from typing import Any

import pytest
import torch

import capsroute
from capsroute import testing
from capsroute.bench.shapes import Shape, by_names

from ..covering import covering
from ..kernels import each_kernel
from .cases import Case, Tensors, votes_of
from .compare import fused

WORDS = {
    "made": "votes made in every pass",
    "tile": "votes kept for a tile of samples",
    "wave": "votes kept for a wave of samples",
}
SMALL = Case((9, 8, 4, 5, 3))  # takes any way that is forced


def way(tensors: Tensors, **options: Any) -> str:
    """What ``explain`` says of a call, by the name of the way."""
    said = capsroute.explain(**tensors, **options)
    (name,) = [name for name, words in WORDS.items() if words in said]
    return name


def untouched(sizes: tuple[int, int, int, int, int], weights: int = 0) -> Tensors:
    """x and weight of these sizes (B, I, d, J, D) in memory that nobody reads or writes."""
    batch, inputs, size, outputs, output_size = sizes
    return {"x": torch.empty(batch, inputs, size), "weight": torch.empty(weights or inputs, outputs, output_size, size)}


def of_shape(shape: Shape) -> Tensors:
    return untouched((shape.batch, shape.inputs, shape.input_size, shape.outputs, shape.output_size))


@pytest.mark.parametrize(("name", "expected"), [
    ("single-image", "wave"), ("mnist", "made"), ("recommender-20", "tile"), ("recommender-50", "tile"),
])  # fmt: skip
def test_the_cost_model_decides(name: str, expected: str) -> None:
    (shape,) = by_names([name])
    assert way(of_shape(shape), iterations=shape.iterations) == expected


@pytest.mark.parametrize("forced", WORDS)
def test_a_way_can_be_forced(forced: str, cpu_isa: str) -> None:
    with testing.cpu_votes(forced):
        said = capsroute.explain(**SMALL.tensors(torch.float32))
    assert WORDS[forced] in said
    assert repr(cpu_isa) in said


@each_kernel
def test_the_kernel_forces_its_way(kernel: str) -> None:
    """Else all tests that take it would show less than their names say."""
    _, _, forced = kernel.partition("-")
    said = capsroute.explain(**SMALL.tensors(torch.float32))
    assert (WORDS[forced] in said) if forced else (repr(kernel) in said)


@pytest.mark.parametrize("forced", ["automatic", *WORDS])
def test_given_votes_are_not_kept_again(forced: str) -> None:
    for batch in (1, 9, 128):
        with testing.cpu_votes(forced):
            said = capsroute.explain(**votes_of(Case((batch, 20, 4, 5, 3)).tensors(torch.float32)))
        assert "kept" not in said


@pytest.mark.parametrize("weights", [1, 576])
@pytest.mark.parametrize("forced", ["automatic", "wave"])
def test_shared_weights_take_no_wave(weights: int, forced: str) -> None:
    """One image, which takes a wave where each input has a weight of its own."""
    sizes = (1, 1152, 8, 10, 16)
    with testing.cpu_votes(forced):
        assert way(untouched(sizes)) == "wave"
        assert way(untouched(sizes, weights)) != "wave"


@pytest.mark.parametrize("forced", ["tile", "wave"])
def test_votes_that_no_cache_holds_are_made(forced: str) -> None:
    """A single sample, or a single tile, of 64 MiB and more."""
    with testing.cpu_votes(forced):
        assert way(untouched((1, 8192, 8, 64, 32))) == "made"


def test_ways_switch_back() -> None:
    tensors = untouched((1, 1152, 8, 10, 16))
    with testing.cpu_votes("made"):
        with testing.cpu_votes("wave"):
            assert way(tensors) == "wave"
        assert way(tensors) == "made"
        with testing.cpu_votes("automatic"):
            assert way(tensors) == "wave"
        with pytest.raises(KeyError), testing.cpu_votes("wave"):
            raise KeyError
        assert way(tensors) == "made"
    assert way(tensors) == "wave"


def test_a_way_is_forced_for_all_threads() -> None:
    """A backward may run in another thread than its forward."""
    ways: list[str] = []
    with testing.cpu_votes("made"):
        thread = threading.Thread(target=lambda: ways.append(way(untouched((1, 1152, 8, 10, 16)))))
        thread.start()
        thread.join()
    assert ways == ["made"]


@covering(
    sizes=[(37, 9, 5, 7, 6), (3, 33, 8, 10, 16), (45, 70, 16, 7, 13)], softmax=["outputs", "leaky", "inputs"],
    logits=["none", "sample"], gradient=["all", "last"],
)  # fmt: skip
def test_a_wave_keeps_a_bad_weight_from_the_sample_that_lacks_its_input(
    sizes: tuple[int, int, int, int, int], softmax: str, logits: str, gradient: str, cpu_isa: str
) -> None:
    """The sum over the inputs is one over lanes, and NaN times 0 is not 0; the samples beside it show the weight."""
    case = Case(sizes, softmax=softmax, logits=logits, gradient=gradient, bias=True)
    tensors, grad = case.tensors(torch.float32), case.output_gradient(torch.float32)
    without, absent = sizes[0] // 2, 1
    tensors["input_mask"] = torch.ones(sizes[:2], dtype=torch.bool)
    tensors["input_mask"][without, absent] = False
    spoiled = {**tensors, "weight": tensors["weight"].clone()}
    spoiled["weight"][absent] = torch.nan
    with testing.cpu_votes("wave"):
        clean, result = fused(tensors, case.options(), grad), fused(spoiled, case.options(), grad)
    present = torch.arange(sizes[1]) != absent
    assert torch.equal(result["output"][without], clean["output"][without])
    assert torch.equal(result["x"][without, present], clean["x"][without, present])
    if logits == "sample":
        assert torch.equal(result["logits"][without], clean["logits"][without])
    others = torch.arange(sizes[0]) != without
    assert not torch.isfinite(result["output"][others]).any()
