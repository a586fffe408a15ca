"""Every wrong argument is a TypeError or ValueError that names it, what was given and what was expected."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import pytest
import torch

import capsroute
from capsroute import testing
from capsroute.routing import backends, checks
from capsroute.routing.options import CUDA_FUSIONS, CUDA_KERNELS

from .cases import Case, votes_of

CASE = Case((3, 6, 4, 5, 7), bias=True, logits="shared", input_mask=True, output_mask=True)

# argument, value, error, texts that the message must hold: the name always, then what was given and what was expected
BOTH: list[tuple[str, Any, type[Exception], list[str]]] = [
    ("bias", torch.zeros(5), ValueError, ["(5,)", "J, D"]),
    ("bias", torch.zeros(7, 5), ValueError, ["(7, 5)", "(5, 7)"]),
    ("bias", torch.zeros(5, 7, dtype=torch.float64), TypeError, ["float64", "float32"]),
    ("bias", torch.zeros(5, 7, dtype=torch.int32), TypeError, ["int32", "float"]),
    ("bias", torch.zeros(5, 7, device="meta"), ValueError, ["meta", "cpu"]),
    ("bias", [0.0] * 7, TypeError, ["list", "Tensor"]),
    ("logits", torch.zeros(6), ValueError, ["(6,)", "I, J"]),
    ("logits", torch.zeros(5, 6), ValueError, ["(5, 6)", "(6, 5)"]),
    ("logits", torch.zeros(1, 6, 5), ValueError, ["(1, 6, 5)", "(3, 6, 5)"]),
    ("logits", torch.zeros(1, 3, 6, 5), ValueError, ["(1, 3, 6, 5)", "B, I, J"]),
    ("logits", torch.zeros(6, 5, dtype=torch.float16), TypeError, ["float16", "float32"]),
    ("logits", torch.zeros(6, 5, device="meta"), ValueError, ["meta", "cpu"]),
    ("logits", 0.0, TypeError, ["float", "Tensor"]),
    ("input_mask", torch.ones(3, 5, dtype=torch.bool), ValueError, ["(3, 5)", "(3, 6)"]),
    ("input_mask", torch.ones(6, dtype=torch.bool), ValueError, ["(6,)", "B, I"]),
    ("input_mask", torch.ones(3, 6), TypeError, ["float32", "bool"]),
    ("input_mask", torch.ones(3, 6, dtype=torch.uint8), TypeError, ["uint8", "bool"]),
    ("input_mask", torch.ones(3, 6, dtype=torch.bool, device="meta"), ValueError, ["meta", "cpu"]),
    ("input_mask", True, TypeError, ["bool", "Tensor"]),
    ("output_mask", torch.ones(3, 6, dtype=torch.bool), ValueError, ["(3, 6)", "(3, 5)"]),
    ("output_mask", torch.ones(3, 5, 1, dtype=torch.bool), ValueError, ["(3, 5, 1)", "B, J"]),
    ("output_mask", torch.ones(3, 5), TypeError, ["float32", "bool"]),
    ("iterations", 0, ValueError, ["0", "at least 1"]),
    ("iterations", -2, ValueError, ["-2", "at least 1"]),
    ("iterations", 2.0, TypeError, ["float", "int"]),
    ("iterations", True, TypeError, ["bool", "int"]),
    ("iterations", None, TypeError, ["NoneType", "int"]),
    ("iterations", 2**31, ValueError, ["2147483648", "below 2**31"]),
    ("iterations", 2**63, ValueError, ["below 2**31"]),
    ("iterations", 10**5000, ValueError, ["an int of 16610 bits", "below 2**31"]),
    ("softmax_over", "J", ValueError, ["'J'", "'outputs', 'inputs'"]),
    ("softmax_over", 1, TypeError, ["int", "'outputs', 'inputs'"]),
    ("gradient", "first", ValueError, ["'first'", "'all', 'last'"]),
    ("gradient", None, TypeError, ["NoneType", "'all', 'last'"]),
    ("leaky", 1, TypeError, ["int", "bool"]),
    ("eps", -1e-8, ValueError, ["-1e-08", "at least 0"]),
    ("eps", float("nan"), ValueError, ["nan", "at least 0"]),
    ("eps", float("inf"), ValueError, ["inf", "finite"]),
    ("eps", 10**400, ValueError, ["an int of 1329 bits", "finite"]),
    ("eps", "small", TypeError, ["str", "number"]),
    ("gradient", "detached", ValueError, ["'detached'", "'all', 'last', 'detached_votes'"]),
    ("squash", "norm", ValueError, ["'norm'", "'standard', 'norm_eps'", "'none'"]),
    ("squash", None, TypeError, ["NoneType", "'standard'"]),
    ("squash_constant", 0.5, ValueError, ["'shifted', 'power'", "squash='standard'"]),
    ("logit_update", "add", ValueError, ["'add'", "'accumulate', 'replace'"]),
    ("logit_update", True, TypeError, ["bool", "'accumulate', 'replace'"]),
    ("agreement_factor", float("inf"), ValueError, ["inf", "finite"]),
    ("agreement_factor", float("nan"), ValueError, ["nan", "finite"]),
    ("agreement_factor", -(10**400), ValueError, ["an int of 1329 bits", "finite"]),
    ("agreement_factor", "2", TypeError, ["str", "number"]),
    ("agreement_factor", torch.ones(2), TypeError, ["Tensor", "shape (2,)", "number"]),
    ("temperature", 0, ValueError, ["0", "above 0"]),
    ("temperature", -1.0, ValueError, ["-1.0", "above 0"]),
    ("temperature", float("nan"), ValueError, ["nan", "above 0"]),
    ("temperature", float("inf"), ValueError, ["inf", "finite"]),
    ("temperature", 10**400, ValueError, ["an int of 1329 bits", "finite"]),
    ("temperature", 1e-320, ValueError, ["1 / temperature", "1e-320"]),
    ("temperature", [1.0, 1e-320, 1.0], ValueError, ["temperature[1]", "1 / temperature"]),
    ("temperature", "hot", TypeError, ["str", "number"]),
    ("temperature", None, TypeError, ["NoneType", "number"]),
    ("temperature", torch.ones(3, 1), TypeError, ["Tensor", "shape (3, 1)", "number"]),
    ("temperature", [], ValueError, ["0 numbers", "iterations=3"]),
    ("temperature", [1.0, 1.0], ValueError, ["2 numbers", "iterations=3"]),
    ("temperature", (1.0,) * 4, ValueError, ["4 numbers", "iterations=3"]),
    ("temperature", [1.0, 0.0, 1.0], ValueError, ["temperature[1]", "0.0", "above 0"]),
    ("temperature", (1.0, 1.0, float("nan")), ValueError, ["temperature[2]", "nan"]),
    ("temperature", (1.0, 1.0, None), TypeError, ["temperature[2]", "NoneType"]),
    ("input_weight", torch.zeros(3, 5), ValueError, ["(3, 5)", "(3, 6)"]),
    ("input_weight", torch.zeros(6), ValueError, ["(6,)", "B, I"]),
    ("input_weight", torch.zeros(3, 6, 1), ValueError, ["(3, 6, 1)", "B, I"]),
    ("input_weight", torch.zeros(3, 6, dtype=torch.float64), TypeError, ["float64", "float32"]),
    ("input_weight", torch.ones(3, 6, dtype=torch.bool), TypeError, ["bool", "float32"]),
    ("input_weight", torch.zeros(3, 6, device="meta"), ValueError, ["meta", "cpu"]),
    ("input_weight", 2.0, TypeError, ["float", "Tensor"]),
    ("details", "coupling", TypeError, ["'coupling'", "sequence", "'pre_squash'"]),
    ("details", True, TypeError, ["True", "sequence"]),
    ("details", ["couplings"], ValueError, ["'couplings'", "'coupling', 'pre_squash', 'agreement'"]),
    ("details", ("coupling", None), ValueError, ["None", "'agreement'"]),
]
# What CASE has of the places where the coupling would stand is left out.
COUPLING: list[tuple[str, Any, type[Exception], list[str]]] = [
    ("coupling", torch.zeros(6), ValueError, ["(6,)", "I, J"]),
    ("coupling", torch.zeros(5, 6), ValueError, ["(5, 6)", "(6, 5)"]),
    ("coupling", torch.zeros(2, 6, 5), ValueError, ["(2, 6, 5)", "(3, 6, 5)"]),
    ("coupling", torch.zeros(6, 5, dtype=torch.float64), TypeError, ["float64", "float32"]),
    ("coupling", torch.ones(6, 5, dtype=torch.bool), TypeError, ["bool", "float32"]),
    ("coupling", torch.zeros(6, 5, device="meta"), ValueError, ["meta", "cpu"]),
    ("coupling", 0.2, TypeError, ["float", "Tensor"]),
]
DYNAMIC: list[tuple[str, Any, type[Exception], list[str]]] = [
    ("x", torch.zeros(6, 4), ValueError, ["(6, 4)", "B, I, d"]),
    ("x", torch.zeros(3, 6, 4, 1), ValueError, ["(3, 6, 4, 1)", "B, I, d"]),
    ("x", torch.zeros(3, 0, 4), ValueError, ["(3, 0, 4)", "at least 1"]),
    ("x", torch.zeros(3, 6, 4, dtype=torch.int64), TypeError, ["int64", "float32"]),
    ("x", torch.zeros(3, 6, 4, dtype=torch.complex64), TypeError, ["complex64", "float32"]),
    ("x", [[[0.0]]], TypeError, ["list", "Tensor"]),
    ("x", torch.zeros(3, 6, 4).to_sparse(), TypeError, ["sparse", "dense"]),
    ("weight", torch.zeros(6, 5, 7), ValueError, ["(6, 5, 7)", "I, J, D, d"]),
    ("weight", torch.zeros(6, 5, 7, 3), ValueError, ["(6, 5, 7, 3)", "d = 4"]),
    ("weight", torch.zeros(4, 5, 7, 4), ValueError, ["(4, 5, 7, 4)", "divisor"]),
    ("weight", torch.zeros(12, 5, 7, 4), ValueError, ["(12, 5, 7, 4)", "divisor"]),
    ("weight", torch.zeros(0, 5, 7, 4), ValueError, ["(0, 5, 7, 4)", "at least 1"]),
    ("weight", torch.zeros(6, 5, 0, 4), ValueError, ["(6, 5, 0, 4)", "at least 1"]),
    ("weight", torch.zeros(6, 5, 7, 4, dtype=torch.float64), TypeError, ["float64", "float32"]),
    ("weight", torch.zeros(6, 5, 7, 4, device="meta"), ValueError, ["meta", "cpu"]),
    ("weight", None, TypeError, ["NoneType", "Tensor"]),
]
VOTES: list[tuple[str, Any, type[Exception], list[str]]] = [
    ("votes", torch.zeros(3, 6, 5), ValueError, ["(3, 6, 5)", "B, I, J, D"]),
    ("votes", torch.zeros(3, 6, 0, 7), ValueError, ["(3, 6, 0, 7)", "at least 1"]),
    ("votes", torch.zeros(3, 6, 5, 7, dtype=torch.int8), TypeError, ["int8", "float32"]),
    ("votes", None, TypeError, ["NoneType", "Tensor"]),
]
TABLE = [("dynamic_routing", *row) for row in BOTH + DYNAMIC] + [("route_votes", *row) for row in BOTH + VOTES]


def _label(value: object) -> str:
    if isinstance(value, torch.Tensor):
        return f"{str(value.dtype).removeprefix('torch.')}{list(value.shape)}{value.device}"
    if isinstance(value, int):
        return checks.shown(value)
    return str(value) if not isinstance(value, (list, type)) else type(value).__name__


def _arguments(entry: str) -> dict[str, Any]:
    tensors = CASE.tensors(torch.float32)
    return {**(votes_of(tensors) if entry == "route_votes" else tensors), **CASE.options()}


def _assert_names(message: str, name: str, texts: list[str]) -> None:
    assert message.startswith(name), f"{message!r} does not begin with the argument's name, {name!r}"
    for text in texts:
        assert text in message, f"{message!r} does not say {text!r}"


@pytest.mark.parametrize(("entry", "name", "value", "error", "texts"), TABLE, ids=_label)
@pytest.mark.parametrize("forced", ["cpu", "reference"])
def test_wrong_argument(
    entry: str, name: str, value: object, error: type[Exception], texts: list[str], forced: str
) -> None:
    with testing.backend(forced), pytest.raises(error) as caught:
        getattr(capsroute, entry)(**{**_arguments(entry), name: value})
    assert type(caught.value) is error
    _assert_names(str(caught.value), name, texts)


@pytest.mark.parametrize("entry", ["dynamic_routing", "route_votes"])
def test_good_arguments_pass(entry: str) -> None:
    """What the table starts from is right, or it would prove nothing."""
    assert getattr(capsroute, entry)(**_arguments(entry)).shape == (3, 5, 7)


@pytest.mark.parametrize("entry", ["dynamic_routing", "route_votes"])
def test_leaky_over_inputs(entry: str) -> None:
    with pytest.raises(ValueError, match="leaky") as caught:
        getattr(capsroute, entry)(**{**_arguments(entry), "softmax_over": "inputs", "leaky": True})
    _assert_names(str(caught.value), "leaky", ["'inputs'", "'outputs'"])


@pytest.mark.parametrize("entry", ["dynamic_routing", "route_votes"])
@pytest.mark.parametrize(("name", "value", "error", "texts"), COUPLING, ids=_label)
def test_wrong_coupling(entry: str, name: str, value: object, error: type[Exception], texts: list[str]) -> None:
    with pytest.raises(error) as caught:
        getattr(capsroute, entry)(**{**_arguments(entry), "logits": None, name: value})
    assert type(caught.value) is error
    _assert_names(str(caught.value), name, texts)


# Two options that are both right alone, and what the message must hold
CONTRADICTIONS: list[tuple[dict[str, Any], list[str]]] = [
    ({"softmax_over": "inputs", "leaky": True}, ["leaky", "'inputs'", "'outputs'"]),
    ({"squash": "exponential", "squash_constant": 0.5}, ["squash_constant", "'shifted', 'power'", "'exponential'"]),
    ({"squash": "none", "squash_constant": 1.0}, ["squash_constant", "'none'"]),
    ({"squash": "shifted", "squash_constant": 0.0}, ["squash_constant", "above 0"]),
    ({"squash": "power", "squash_constant": -1.0}, ["squash_constant", "-1.0", "above 0"]),
    ({"squash": "power", "squash_constant": float("nan")}, ["squash_constant", "nan"]),
    ({"iterations": 33, "temperature": (1.0,) * 33}, ["temperature", "at most 32", "33 numbers"]),
    ({"iterations": 2, "temperature": (1.0,) * 3}, ["temperature", "iterations=2", "3 numbers"]),
    ({"coupling": torch.zeros(6, 5), "logits": torch.zeros(6, 5)}, ["coupling", "logits"]),
    ({"coupling": torch.zeros(6, 5), "softmax_over": "inputs"}, ["softmax_over", "coupling", "'inputs'"]),
    ({"coupling": torch.zeros(6, 5), "leaky": True}, ["leaky", "coupling"]),
    ({"coupling": torch.zeros(6, 5), "gradient": "last"}, ["gradient", "coupling", "'last'"]),
    ({"coupling": torch.zeros(6, 5), "logit_update": "replace"}, ["logit_update", "coupling", "'replace'"]),
    ({"coupling": torch.zeros(6, 5), "agreement_factor": 2.0}, ["agreement_factor", "coupling", "2.0"]),
    ({"coupling": torch.zeros(6, 5), "temperature": 2.0}, ["temperature", "coupling", "2.0"]),
    ({"coupling": torch.zeros(6, 5), "temperature": [1.0, 2.0, 1.0]}, ["temperature", "coupling", "2.0"]),
]


@pytest.mark.parametrize("entry", ["dynamic_routing", "route_votes"])
@pytest.mark.parametrize(("options", "texts"), CONTRADICTIONS, ids=lambda value: "-".join(map(str, value)))
def test_contradiction(entry: str, options: dict[str, Any], texts: list[str]) -> None:
    with pytest.raises(ValueError, match=texts[0]) as caught:
        getattr(capsroute, entry)(**{**_arguments(entry), "logits": None, **options})
    _assert_names(str(caught.value), texts[0], texts[1:])


@pytest.mark.parametrize("entry", ["dynamic_routing", "route_votes"])
def test_an_unknown_keyword_is_refused(entry: str) -> None:
    with pytest.raises(TypeError, match="softmax_dim"):
        getattr(capsroute, entry)(**_arguments(entry), softmax_dim=1)


@pytest.mark.parametrize("options", [
    {"squash": "shifted", "squash_constant": 0.3}, {"temperature": [2.0, 1.0, 0.5]}, {"temperature": (0.5,)},
    {"temperature": 2}, {"agreement_factor": 0}, {"agreement_factor": -1}, {"gradient": "detached_votes"},
    {"details": []}, {"details": ("agreement", "agreement")}, {"logit_update": "replace", "iterations": 1},
    {"iterations": 32, "temperature": (1.0,) * 32}, {"iterations": 40, "temperature": 0.9},
], ids=str)  # fmt: skip
def test_what_looks_odd_and_is_right(options: dict[str, Any]) -> None:
    result = capsroute.dynamic_routing(**{**_arguments("dynamic_routing"), **options})
    output = result.output if "details" in options else result
    assert output.shape == (3, 5, 7)
    assert output.isfinite().all()


def test_coupling_needs_no_iterations() -> None:
    """It goes with every number of them: they count for nothing."""
    arguments = {**_arguments("dynamic_routing"), "logits": None, "coupling": torch.rand(6, 5)}
    once, often = (capsroute.dynamic_routing(**{**arguments, "iterations": t}) for t in (1, 7))
    assert torch.equal(once, often)


# ---- Several output axes, here (5, 2)

AXES: list[tuple[str, Any, list[str]]] = [
    ("bias", torch.zeros(10, 7), ["(5, 2)", "(10, 7)"]),
    ("bias", torch.zeros(5, 2), ["(5, 2)"]),
    ("bias", torch.zeros(2, 5, 7), ["(5, 2)", "(2, 5, 7)"]),
    ("bias", torch.zeros(5, 2, 6), ["(10, 7)"]),
    ("logits", torch.zeros(6, 10), ["(5, 2)", "(6, 10)"]),
    ("logits", torch.zeros(3, 6, 2, 5), ["(5, 2)", "(3, 6, 2, 5)"]),
    ("logits", torch.zeros(2, 6, 5, 2), ["(3, 6, 10)"]),
    ("coupling", torch.zeros(6, 10), ["(5, 2)", "(6, 10)"]),
    ("output_mask", torch.ones(3, 10, dtype=torch.bool), ["(5, 2)", "(3, 10)"]),
    ("output_mask", torch.ones(3, 5, dtype=torch.bool), ["(5, 2)", "(3, 5)"]),
    ("output_mask", torch.ones(2, 5, 2, dtype=torch.bool), ["(3, 10)"]),
    ("weight", torch.zeros(4, 5, 2, 7, 4), ["(4, 10, 7, 4)", "divisor"]),
    ("weight", torch.zeros(6, 5, 0, 7, 4), ["at least 1"]),
]


@pytest.mark.parametrize(("name", "value", "texts"), AXES, ids=_label)
def test_output_axes_that_do_not_fit(name: str, value: object, texts: list[str]) -> None:
    arguments = {"x": torch.zeros(3, 6, 4), "weight": torch.zeros(6, 5, 2, 7, 4)}
    assert capsroute.dynamic_routing(**arguments).shape == (3, 5, 2, 7)
    with pytest.raises(ValueError, match=name) as caught:
        capsroute.dynamic_routing(**{**arguments, name: value})
    _assert_names(str(caught.value), name, texts)


def test_output_axes_of_a_wrong_kind() -> None:
    votes = torch.zeros(3, 6, 5, 2, 7)
    for name in ("bias", "logits", "coupling", "output_mask"):
        with pytest.raises(TypeError, match=name) as caught:
            capsroute.route_votes(votes, **{name: [0.0]})
        _assert_names(str(caught.value), name, ["list"])


def test_forced_backend_without_a_kernel() -> None:
    with testing.backend("cuda"), pytest.raises(ValueError, match="backend") as caught:
        capsroute.dynamic_routing(**CASE.tensors(torch.float32))  # on the CPU
    _assert_names(str(caught.value), "backend", ["'cuda'", "forced"])


@pytest.mark.parametrize(("name", "error"), [("gpu", ValueError), ("", ValueError), (None, TypeError), (3, TypeError)])
def test_unknown_backend(name: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="backend") as caught, testing.backend(name):
        pass
    _assert_names(str(caught.value), "backend", ["'reference'", "'cpu'", "'cuda'", "'cuda_emulated'"])


@pytest.mark.parametrize("argument", ["kernel", "fusion"])
@pytest.mark.parametrize(("value", "error"), [("fast", ValueError), ("", ValueError), (None, TypeError)])
def test_unknown_cuda_kernel(argument: str, value: Any, error: type[Exception]) -> None:
    before = backends._forced.kernel, backends._forced.fusion
    with pytest.raises(error, match=argument) as caught, testing.cuda_kernel(**{argument: value}):
        pass
    known = {"kernel": CUDA_KERNELS, "fusion": CUDA_FUSIONS}[argument]
    _assert_names(str(caught.value), argument, [repr(name) for name in known])
    assert (backends._forced.kernel, backends._forced.fusion) == before


@pytest.mark.parametrize("argument", ["tiles", "last_outputs", "last_warps"])
@pytest.mark.parametrize(
    ("value", "error"), [(-1, ValueError), (2**31, ValueError), ("2", TypeError), (None, TypeError)]
)
def test_bad_cuda_division(argument: str, value: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match=argument), testing.cuda_division(**{argument: value}):
        pass


def test_bad_number_of_tiles() -> None:
    with pytest.raises(ValueError, match="tiles must be 1, 2, 4, 8"), testing.cuda_division(tiles=3):
        pass


def test_unknown_instruction_set() -> None:
    before = capsroute.build_info()["cpu_isa"]
    with pytest.raises(ValueError, match="sse9") as caught, testing.cpu_isa("sse9"):
        pass
    assert all(isa in str(caught.value) for isa in testing.usable_cpu_isas())
    assert capsroute.build_info()["cpu_isa"] == before


@pytest.mark.parametrize(("value", "error", "given"), [
    ("cache", ValueError, "'cache'"), ("", ValueError, "''"), (None, TypeError, "NoneType"), (3, TypeError, "int"),
])  # fmt: skip
@pytest.mark.parametrize("argument", ["votes", "instruction set"])
def test_unknown_names_for_the_cpu(argument: str, value: Any, error: type[Exception], given: str) -> None:
    """In one sentence each, and nothing changes."""
    contexts: dict[str, Callable[[Any], AbstractContextManager[None]]]
    contexts = {"votes": testing.cpu_votes, "instruction set": testing.cpu_isa}
    tensors = CASE.tensors(torch.float32)
    before = capsroute.explain(**tensors)
    with pytest.raises(error) as caught, contexts[argument](value):
        pass
    _assert_names(str(caught.value), argument, [given])
    assert "\n" not in str(caught.value)
    if error is ValueError and argument == "votes":
        _assert_names(str(caught.value), argument, ["'automatic'", "'made'", "'tile'", "'wave'"])
    assert capsroute.explain(**tensors) == before
