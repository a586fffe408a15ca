"""The rows of the options: what is generated from them is up to date, and each says where it belongs."""

from __future__ import annotations

import inspect
import re

import pytest

import capsroute
from capsroute.routing import keywords, options
from capsroute.routing.options import DEFAULTS, PUBLIC, ROWS, RoutingOptions
from capsroute.routing.values import Count, Flag, OneOf

from ..packaging.tree import ROOT, load_script
from .cases import FACTORS, Case, option_cases

generate = load_script("generate_options")


@pytest.mark.parametrize("path", ["capsroute/routing/keywords.py", "csrc/shared/option_table.h", "docs/options.md"])
def test_what_is_generated_is_up_to_date(path: str) -> None:
    assert (ROOT / path).read_text() == generate.generated()[path], (
        f"{path} is not what the rows of capsroute/routing/options.py give: run scripts/generate_options.py"
    )


def test_each_row_acts_somewhere_and_has_a_place_of_its_own() -> None:
    """Exported programs hold the packed lists by these places."""
    for name, row in ROWS.items():
        assert row.acts in ("pass", "step", "backward", "choice"), (
            f"capsroute/routing/options.py: {name} acts in {row.acts!r}, which is no place of the design"
        )
    ints = [row.place for row in ROWS.values() if isinstance(row.kind, Flag | OneOf | Count)]
    floats = [row.place for row in ROWS.values() if not isinstance(row.kind, Flag | OneOf | Count)]
    for places in (ints, floats):
        assert sorted(places) == list(range(len(places))), (
            f"capsroute/routing/options.py: places {sorted(places)} must be 0, 1, ... without a gap or a repetition"
        )


def test_each_option_is_in_every_table_that_people_and_tests_read() -> None:
    defined = (ROOT / "capsroute/routing/reference.py").read_text()
    for name in PUBLIC:
        assert name in keywords.RoutingKeywords.__annotations__
        tried = {"softmax_over": "softmax", "leaky": "softmax", "squash_constant": "squash"}.get(name, name)
        assert len(FACTORS[tried]) > 1, f"capsroute/routing/options.py: tests have nothing to try of {name}"
        used = {"squash_constant": "constant_of_squash", "temperature": "temperatures"}.get(name, name)
        assert re.search(rf"options\.{used}\b", defined), f"capsroute/routing/reference.py does not define {name}"
        for function in (capsroute.dynamic_routing, capsroute.route_votes):
            assert inspect.signature(function).parameters[name].default == getattr(DEFAULTS, name)
            assert f"\n        {name}: " in (function.__doc__ or "")


def test_an_option_without_a_row_is_refused() -> None:
    tensors = Case((2, 3, 2, 3, 2)).tensors()
    for unknown in ("iteration", "backend", "coupling_given"):  # the last two are options, but not of callers
        with pytest.raises(TypeError, match=f"unknown routing option {unknown!r}"):
            capsroute.dynamic_routing(**tensors, **{unknown: 3})
    with pytest.raises(TypeError, match="did you mean 'iterations'"):
        capsroute.dynamic_routing(**tensors, iteration=3)


@pytest.mark.parametrize("case", option_cases(), ids=str)
def test_unpacked_as_packed(case: Case) -> None:
    given = case.options()
    if isinstance(given["temperature"], tuple) and case.iterations == 1:
        given["temperature"] = given["temperature"][0]  # one number for each of one iteration is one for all
    made = RoutingOptions(backend="cuda", **given)
    unpacked = RoutingOptions.unpack(made.integers(), made.floats())
    assert unpacked == made._replace(squash_constant=unpacked.squash_constant)
    assert unpacked.floats() == made.floats()


@pytest.mark.parametrize("name", [name for name, row in ROWS.items() if isinstance(row.kind, Flag | OneOf)])
def test_each_value_is_unpacked_as_packed(name: str) -> None:
    kind = ROWS[name].kind
    for value in kind.names if isinstance(kind, OneOf) else (False, True):
        made = DEFAULTS._replace(**{name: value})
        unpacked = RoutingOptions.unpack(made.integers(), made.floats())
        assert unpacked == made._replace(squash_constant=unpacked.squash_constant)


def test_lists_of_an_older_program_get_defaults() -> None:
    """Lists may grow at their end; what an exported program lacks takes the default of today."""
    assert RoutingOptions.unpack([4, 1], []) == RoutingOptions(iterations=4, softmax_over="inputs")
    assert RoutingOptions.unpack([3, 0, 0, 0, 1], [1e-8]) == RoutingOptions(backend="cpu")
    before_counts = RoutingOptions(iterations=2, temperature=(2.0, 1.5))
    assert RoutingOptions.unpack(before_counts.integers()[:12], before_counts.floats()) == before_counts


def test_a_number_behind_the_temperatures_is_packed_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a further option of this kind would be; eps stands for it."""
    monkeypatch.setattr(options, "_BEHIND_TEMPERATURES", ["eps"])
    monkeypatch.setattr(options, "_BEFORE_TEMPERATURES", ["squash_constant", "agreement_factor"])
    made = RoutingOptions(temperature=(2.0, 1.5, 1.0), eps=0.25)
    assert made.floats() == [1.0, 1.0, 2.0, 1.5, 1.0, 0.25]
    assert RoutingOptions.unpack(made.integers(), made.floats()) == made
