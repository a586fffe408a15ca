"""Ranks that make different calls: one sentence on every rank, no rank left waiting, and the next call works."""

from __future__ import annotations

from typing import Any

import pytest

from capsroute.distributed.consensus import difference

from .pool import Ranks
from .tasks import in_turn, refused

GOOD: dict[str, Any] = {"x": [2, 3, 4], "weight": [3, 5, 6, 4]}
VOTES: dict[str, Any] = {"entry": "route_votes", "votes": [2, 3, 5, 6]}

DIFFERENT = [
    ({"x": [7, 3, 4]}, "B is 2 on rank 0 and 7 on rank 1"),
    ({"weight": [3, 8, 6, 4]}, "J is 5 on rank 0 and 8 on rank 1"),
    ({"weight": [3, 5, 1, 6, 4]}, "J is 5 on rank 0 and (5, 1) on rank 1"),
    ({"weight": [3, 5, 9, 4]}, "D is 6 on rank 0 and 9 on rank 1"),
    ({"dtype": "float64"}, "the dtype is torch.float32 on rank 0 and torch.float64 on rank 1"),
    ({"iterations": 4}, "iterations is 3 on rank 0 and 4 on rank 1"),
    ({"softmax_over": "inputs"}, "softmax_over is outputs on rank 0 and inputs on rank 1"),
    ({"gradient": "last"}, "gradient is all on rank 0 and last on rank 1"),
    (
        {"squash": "shifted"},
        "squash is standard on rank 0 and shifted on rank 1; squash_constant is None on rank 0 and 0.5 on rank 1",
    ),
    ({"eps": 0.5}, "eps is 1e-08 on rank 0 and 0.5 on rank 1"),
    ({"temperature": (1.0, 2.0, 3.0)}, "temperature is 1.0 on rank 0 and (1.0, 2.0, 3.0) on rank 1"),
    ({"bias": [5, 6]}, "bias is not given on rank 0 and given on rank 1"),
    ({"logits": [3, 5]}, "logits is not given on rank 0 and given on rank 1"),
    (
        {"coupling": [3, 5]},
        "logits is not given on rank 0 and the coupling on rank 1; iterations is 3 on rank 0 and 1 on rank 1",
    ),
    ({"input_mask": [2, 3]}, "input_mask is not given on rank 0 and given on rank 1"),
    ({"output_mask": [2, 5]}, "output_mask is not given on rank 0 and given on rank 1"),
    ({"input_weight": [2, 3]}, "input_weight is not given on rank 0 and given on rank 1"),
    (VOTES, "the function is dynamic_routing on rank 0 and route_votes on rank 1"),
    ({"learns": True}, "a gradient is not needed on rank 0 and needed on rank 1"),
]


@pytest.mark.parametrize(("change", "expected"), DIFFERENT, ids=[text for _, text in DIFFERENT])
def test_what_differs_is_named_on_every_rank(change: dict[str, Any], expected: str, ranks: Ranks) -> None:
    first, second = ranks.run(refused, [GOOD, change if "entry" in change else {**GOOD, **change}], ranks=2)
    assert first == second == ("ValueError", f"the ranks of the group must make the same call: {expected}")


def test_everything_that_differs_is_named_once(ranks: Ranks) -> None:
    answers = ranks.run(refused, [GOOD, GOOD, {**GOOD, "iterations": 4, "eps": 0.5}, {**GOOD, "iterations": 5}])
    assert len(set(answers)) == 1
    assert answers[0][1] == (
        "the ranks of the group must make the same call: iterations is 3 on ranks 0, 1 and 4 on rank 2 and 5 on rank "
        "3; eps is 1e-08 on ranks 0, 1, 3 and 0.5 on rank 2"
    )


def test_slices_may_have_any_size(ranks: Ranks) -> None:
    each = [{"x": [2, n, 4], "weight": [n, 5, 6, 4]} for n in (3, 1, 8)]
    assert ranks.run(refused, each, ranks=3) == [("", "")] * 3


@pytest.mark.parametrize(
    ("bad", "kind", "text"),
    [
        ({"weight": [2, 5, 6, 4]}, "ValueError", "weight [I_w, J, D, d] must have I_w = I = 3 or a divisor of it"),
        ({"x": [2, 0, 4]}, "ValueError", "x [B, I, d] must have sizes of at least 1 there"),
        ({"logits": [4, 5]}, "ValueError", "logits must have shape [I, J] = (3, 5), got (4, 5)"),
        ({"iterations": 0}, "ValueError", "iterations must be at least 1, got 0"),
        ({"iterations": 2.5}, "TypeError", "iterations must be an int"),
        ({"itertions": 2}, "TypeError", "unknown routing option 'itertions'"),
        ({"details": ("coupling",)}, "TypeError", "unknown routing option 'details'"),
    ],
)
def test_a_refusal_on_one_rank_reaches_all(bad: dict[str, Any], kind: str, text: str, ranks: Ranks) -> None:
    good, refusing, other = ranks.run(refused, [GOOD, {**GOOD, **bad}, GOOD], ranks=3)
    assert refusing[0] == kind
    assert text in refusing[1]
    assert good == other == ("ValueError", f"rank 1 of the group refused its arguments: {refusing[1]}")


def test_known_and_unknown_calls_do_not_wait_for_each_other(ranks: Ranks) -> None:
    """A call that all have made before on some ranks, on the others a new one, or another that is known."""
    sizes = [[2, 2], [3, 3], [2, 2], [2, 4], [2, 3], [3, 2], [4, 2], [2, 2]]
    calls = [[{"batch": batch} for batch in each] for each in sizes]
    first, second = ranks.run(in_turn, calls, ranks=2)
    assert first == second
    assert [bool(error) for error in first] == [a != b for a, b in sizes]


def test_numbers_that_are_written_otherwise_are_the_same_call(ranks: Ranks) -> None:
    written: list[list[dict[str, Any]]] = [
        [{"temperature": 1}, {"temperature": 1.0}],
        [{"temperature": 1.0}, {"temperature": [1, 1, 1]}],
        [{"eps": 0, "agreement_factor": 2}, {"eps": 0.0, "agreement_factor": 2.0}],
        [{"squash": "shifted"}, {"squash": "shifted", "squash_constant": 0.5}],
    ]
    errors = [
        "",
        "the ranks of the group must make the same call: temperature is 1.0 on rank 0 and (1.0, 1.0, 1.0) on rank 1",
        "",
        "",
    ]
    assert ranks.run(in_turn, written, ranks=2) == [errors, errors]


def test_a_difference_leaves_nothing_behind(ranks: Ranks) -> None:
    """The numbers are equal and differ, so a rank that took what it made of the one for the other would go on alone."""
    calls = [[{"eps": a}, {"eps": b}] for a, b in ((0.0, -0.0), (0.0, 0.0), (-0.0, -0.0))]
    first, second = ranks.run(in_turn, calls, ranks=2)
    differ = "the ranks of the group must make the same call: eps is 0.0 on rank 0 and -0.0 on rank 1"
    assert first == second == [differ, "", ""]


def test_the_sentence_without_processes() -> None:
    same = (("B", 2), ("D", 3))
    assert difference([same, (("B", 5), ("D", 3)), same]) == (
        "the ranks of the group must make the same call: B is 2 on ranks 0, 2 and 5 on rank 1"
    )
