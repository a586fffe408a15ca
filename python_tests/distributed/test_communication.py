"""What is sent: as often and as much as the documentation says."""

from __future__ import annotations

import pytest
import torch

from ..routing.cases import Case
from .pool import Ranks
from .tasks import sent

B, J, D = 3, 5, 7
SUM = ("SUM", (B, J, D), torch.float32)
WITH_TOTAL = ("SUM", (B, J, D + 1), torch.float32)
LARGEST = ("MAX", (B, J), torch.float32)
DIGEST = ("gather", 8, torch.int64)


def _case(**options: object) -> Case:
    return Case((B, 6, 4, J, D), **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("iterations", [1, 2, 4])
def test_one_sum_per_iteration_over_outputs(iterations: int, ranks: Ranks) -> None:
    for log in ranks.run(sent, _case(iterations=iterations, bias=True, logits="shared")):
        assert log["forward"] == [DIGEST, *[SUM] * iterations]
        assert log["backward"] == [SUM] * (iterations - 1)


def test_nothing_is_sent_backwards_through_the_last_iteration(ranks: Ranks) -> None:
    for log in ranks.run(sent, _case(gradient="last")):
        assert log == {"forward": [DIGEST, SUM, SUM, SUM], "backward": []}


def test_the_largest_logits_go_first_over_inputs(ranks: Ranks) -> None:
    for log in ranks.run(sent, _case(softmax="inputs")):
        assert log["forward"] == [DIGEST, WITH_TOTAL, *[LARGEST, WITH_TOTAL] * 2]
        assert log["backward"] == [SUM, SUM]
    for log in ranks.run(sent, _case(softmax="inputs", logits="shared", iterations=1)):
        assert log["forward"] == [DIGEST, LARGEST, WITH_TOTAL]


def test_one_rank_sends_nothing(ranks: Ranks) -> None:
    assert ranks.run(sent, _case(softmax="inputs"), ranks=1) == [{"forward": [], "backward": []}]
