"""What only the emulated device can show: any order of threads, other architectures, races, and faults as errors."""

from __future__ import annotations

import pytest
import torch

import capsroute
from capsroute import testing
from capsroute.bench.shapes import SHAPES, Shape
from capsroute.routing import core, ops
from capsroute.routing.options import RoutingOptions

from .. import kernels
from ..covering import covering
from ..lanes import sampled
from .cases import ENTRIES, Case, coupling_cases, option_cases, votes_of
from .compare import assert_bitwise_equal, assert_matches_reference, fused

kernels.require("cuda_emulated")

CHOSEN = [("plain", "automatic"), ("fused", "grid"), ("fused", "cluster"), ("fused", "launches")]
ORDERS = [("reverse", 0), ("shuffled", 1), ("shuffled", 2)]
PLAIN_CASES = [
    Case((33, 40, 8, 10, 16)),
    Case((17, 12, 5, 23, 12), softmax="inputs", bias=True, logits="sample"),
    Case((17, 6, 16, 5, 40), softmax="leaky", weights="half", gradient="last", input_mask=True, output_mask=True),
]
CASES = [
    *sampled(option_cases()[::4], 3),
    Case((4, 60, 8, 33, 12), weights="shared"),
    *PLAIN_CASES,
    Case(
        (17, 6, 16, 23, 16), logits="sample", input_weight=True, gradient="detached_votes", squash="power",
        temperature="falling",
    ),
    coupling_cases()[3],
]  # fmt: skip


@pytest.fixture(autouse=True)
def _emulated() -> object:
    with testing.backend("cuda_emulated"):
        yield


def arguments(case: Case, entry: str, dtype: torch.dtype = torch.float32) -> dict[str, torch.Tensor]:
    tensors = case.tensors(dtype)
    return votes_of(tensors) if entry == "route_votes" else tensors


@covering(case=CASES, chosen=CHOSEN, entry=ENTRIES)
def test_any_order_of_threads(case: Case, chosen: tuple[str, str], entry: str) -> None:
    """Bit by bit: a missing barrier shows as a difference, or as a race that is reported."""
    tensors, grad = arguments(case, entry), case.output_gradient(torch.float32)
    with testing.cuda_kernel(*chosen):
        with testing.emulated_device(order="forward", check_races=True):
            expected = fused(tensors, case.options(), grad)
        assert_matches_reference(tensors, case.options(), grad, actual=expected)
        for order, seed in ORDERS:
            with testing.emulated_device(order=order, seed=seed, check_races=True):
                assert_bitwise_equal(fused(tensors, case.options(), grad), expected)


DIVISIONS = [
    # A device so large that the inputs are divided into many parts, which the warps of a block add up together.
    (16, Case((5, 160, 4, 5, 8), bias=True)),
    (16, Case((18, 140, 3, 10, 3), softmax="inputs", logits="shared")),
    (16, Case((3, 150, 5, 2, 17), softmax="leaky", gradient="last", input_mask=True)),
    # Fewer multiprocessors than parts of the outputs: a block takes several in turn, its warps sharing inputs or not.
    (2, Case((5, 26, 3, 70, 8))),
    (2, Case((5, 26, 3, 70, 8), softmax="inputs", logits="shared")),
    (2, Case((70, 3, 2, 33, 8))),
    (2, Case((70, 3, 2, 33, 8), softmax="inputs", bias=True)),
]


@covering(division=DIVISIONS, fusion=["grid", "launches"], entry=ENTRIES)
def test_divisions_of_the_work(division: tuple[int, Case], fusion: str, entry: str) -> None:
    multiprocessors, case = division
    tensors, grad = arguments(case, entry), case.output_gradient(torch.float32)
    with testing.cuda_kernel("fused", fusion):
        with testing.emulated_device(multiprocessors=multiprocessors):
            expected = fused(tensors, case.options(), grad)
        assert_matches_reference(tensors, case.options(), grad, actual=expected)
        for order, seed in ORDERS:
            with testing.emulated_device(multiprocessors=multiprocessors, order=order, seed=seed):
                assert_bitwise_equal(fused(tensors, case.options(), grad), expected)


@covering(
    architecture=[75, 80, 86, 89, 90, 100, 120], multiprocessors=[2, 3, 4], case=PLAIN_CASES,
    dtype=[torch.float32, torch.bfloat16],
)  # fmt: skip
def test_architectures(architecture: int, multiprocessors: int, case: Case, dtype: torch.dtype) -> None:
    """With and without matrix instructions, clusters and much shared memory; as the launchers choose."""
    with testing.emulated_device(architecture=architecture, multiprocessors=multiprocessors):
        assert_matches_reference(case.tensors(dtype), case.options(), case.output_gradient(dtype))


@covering(architecture=[75, 80, 90], fusion=["grid", "launches"], multiprocessors=[2, 3, 4])
def test_fusions_on_each_architecture(architecture: int, fusion: str, multiprocessors: int) -> None:
    case = PLAIN_CASES[0]
    with (
        testing.emulated_device(architecture=architecture, multiprocessors=multiprocessors),
        testing.cuda_kernel("fused", fusion),
    ):
        assert_matches_reference(case.tensors(torch.float32), case.options(), case.output_gradient(torch.float32))


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)
def test_shapes_that_people_use(shape: Shape) -> None:
    """In full but for the batch and, where the votes would be too many, the inputs."""
    batch = min(shape.batch, 2)
    inputs = min(shape.inputs, 100_000 // (batch * shape.outputs * shape.output_size))
    case = Case((batch, inputs, shape.input_size, shape.outputs, shape.output_size), iterations=shape.iterations)
    tensors, grad = case.tensors(torch.float32), case.output_gradient(torch.float32)
    assert_matches_reference(tensors, case.options(), grad, amplified=shape.iterations > 4)


@pytest.mark.parametrize(("architecture", "runs"), [(75, False), (86, False), (90, True), (120, True)])
def test_blocks_that_share_outputs_need_clusters(architecture: int, runs: bool) -> None:
    """More outputs than one block holds are shared among the blocks of a cluster, where there are clusters."""
    tensors = Case((17, 6, 8, 45, 16)).tensors(torch.float32)
    with testing.emulated_device(architecture=architecture), testing.cuda_kernel("fused", "cluster"):
        if runs:
            assert "clusters" in capsroute.explain(**tensors)
            capsroute.dynamic_routing(**tensors)
        else:
            with pytest.raises(RuntimeError, match="cannot run this problem on this device"):
                capsroute.dynamic_routing(**tensors)


def test_matrix_instructions_are_taken_where_there_are_any() -> None:
    tensors = PLAIN_CASES[0].tensors(torch.float32)
    for architecture, expected in ((75, False), (80, True), (90, True)):
        with testing.emulated_device(architecture=architecture), testing.cuda_kernel("fused"):
            before = core.emulated().counters()
            capsroute.dynamic_routing(**tensors)
            after = core.emulated().counters()
        assert (after["mma"] > before["mma"]) == expected
        assert after["launches"] > before["launches"]
        assert after["faults"] == before["faults"]


def test_one_launch_where_the_passes_are_fused() -> None:
    tensors = PLAIN_CASES[0].tensors(torch.float32)
    launches = {}
    for fusion in ("grid", "cluster", "launches"):
        with testing.cuda_kernel("fused", fusion):
            before = core.emulated().counters()["launches"]
            capsroute.dynamic_routing(**tensors, iterations=4)
            launches[fusion] = core.emulated().counters()["launches"] - before
    assert launches["grid"] == launches["cluster"] == 1
    assert launches["launches"] >= 8  # a pass and a step for each iteration


def test_another_device_than_the_one_there_is() -> None:
    assert core.emulated().cuda_unusable(0) == ""
    assert core.emulated().cuda_unusable(1) != ""


@pytest.mark.parametrize(("at_launch", "texts"), [
    (False, ["broke a rule", "read_what_nobody_wrote"]),
    (True, ["refused", "read_what_nobody_wrote", "64 threads"]),
])  # fmt: skip
def test_a_broken_rule_is_an_error_that_tells_which(at_launch: bool, texts: list[str]) -> None:
    with pytest.raises(RuntimeError, match="capsroute core") as caught:
        core.emulated().break_rule(at_launch)
    for text in texts:
        assert text in str(caught.value)
    case = PLAIN_CASES[0]
    assert_matches_reference(case.tensors(torch.float32), case.options(), case.output_gradient(torch.float32))


@pytest.mark.parametrize("softmax", ["outputs", "inputs"])
@pytest.mark.parametrize("architecture", [75, 90])
def test_workspace_at_the_mnist_shape(softmax: str, architecture: int) -> None:
    """It is known without running anything: at most 16 MiB, as on the CPU, where the votes alone take 90."""
    case = Case((128, 1152, 8, 10, 16), softmax=softmax)
    sources = tuple(case.tensors(torch.float32).values())
    options = RoutingOptions(backend="cuda_emulated", **case.options())
    with testing.emulated_device(architecture=architecture, multiprocessors=16):
        place = ops._place(sources[0], options)
        problem = ops._problem(place, ops._arranged(sources, (None,) * len(ops.OPTIONAL)), ops._sizes(sources), options)
        there = sources[0].data_ptr()
        buffers = place.core.RoutingBackward(there, there, there, there, there, 0, 0, 0, 0)
        assert problem.forward_workspace() + problem.backward_workspace(buffers) <= 16 * 2**20


def test_settings_are_put_back() -> None:
    before = core.emulated().settings()
    with testing.emulated_device(architecture=80, multiprocessors=2, order="shuffled", seed=7, check_races=False):
        inside = core.emulated().settings()
    assert inside == {
        "architecture": 80, "multiprocessors": 2, "order": "shuffled", "seed": 7, "check_races": False
    }  # fmt: skip
    assert core.emulated().settings() == before


@pytest.mark.parametrize(("name", "value"), [
    ("architecture", 70), ("multiprocessors", 0), ("multiprocessors", 99), ("order", "random")
])  # fmt: skip
def test_a_device_that_cannot_be(name: str, value: object) -> None:
    before = core.emulated().settings()
    with pytest.raises(ValueError, match=f"^{name} must be"), testing.emulated_device(**{name: value}):
        pass
    assert core.emulated().settings() == before
