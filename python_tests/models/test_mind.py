"""MIND: the size of its source, the interests of users, and that it learns."""

from __future__ import annotations

import math

import pytest
import torch

from capsroute.models import MIND


def histories(users, length, generator):
    """Users that each like two of four kinds of items (ids 1 to 40, ten of each kind), and what they take next."""
    kinds = torch.rand(users, 4, generator=generator).argsort(dim=1)[:, :2]
    liked = kinds.gather(1, torch.randint(2, (users, length + 1), generator=generator))
    items = 1 + 10 * liked + torch.randint(10, (users, length + 1), generator=generator)
    ends = torch.randint(2, length + 1, (users, 1), generator=generator)
    return items[:, :length] * (torch.arange(length) < ends), items[:, length]


def test_parameters_of_the_source():
    with torch.device("meta"):
        model = MIND(367_983)  # ComiRec's book data, with vectors of 64 components as there
    shapes = {name: tuple(parameter.shape) for name, parameter in model.named_parameters()}
    assert shapes == {
        "embedding.weight": (367_983, 64),
        "capsules.weight": (1, 1, 64, 64),
        "capsules.bias": (1, 64),
        "projection.weight": (64, 64),
        "projection.bias": (64,),
    }
    assert sum(parameter.numel() for parameter in model.parameters()) == 23_559_232


def test_outputs():
    torch.manual_seed(0)
    model = MIND(30, 8, 3)
    history = torch.randint(1, 30, (4, 10))
    history[1, 1:] = 0
    history[2, 4:] = 0
    output = model(history, torch.tensor([1, 2, 3, 4]))
    assert output.interests.shape == (4, 3, 8)
    assert output.user.shape == (4, 8)
    assert output.interest_mask.tolist() == [[True] * 3, [True, False, False], [True, True, False], [True] * 3]
    assert output.interests[~output.interest_mask].abs().max() == 0
    for user, interests, mask in zip(output.user, output.interests, output.interest_mask, strict=True):
        assert any(torch.equal(user, interest) for interest in interests[mask])  # hard attention
    assert model(history).user is None


def test_as_many_interests_for_all_where_told():
    output = MIND(30, 8, 3, dynamic=False)(torch.tensor([[4, 0, 0], [5, 6, 7]]))
    assert output.interest_mask.all()
    assert output.interests.shape == (2, 3, 8)


def test_padding_and_its_length_do_not_matter():
    torch.manual_seed(0)
    model = MIND(30, 8, 3)
    history = torch.randint(1, 30, (2, 5))
    logits = torch.randn(8, 3)
    layer = model.capsules
    short = layer(model.embedding(history), logits=logits[:5])
    padded = torch.nn.functional.pad(history, (0, 3))
    torch.testing.assert_close(layer(model.embedding(padded), padded != 0, logits=logits), short)


def test_options_reach_the_routing():
    options = MIND(30, 8, iterations=2, softmax_over="inputs").capsules.options
    assert (options.iterations, options.softmax_over, options.gradient) == (2, "inputs", "last")


def test_the_generator_decides():
    model, history = MIND(30, 8), torch.randint(1, 30, (2, 20))
    first, second = (model(history, generator=torch.Generator().manual_seed(3)).interests for _ in range(2))
    assert torch.equal(first, second)
    assert not torch.equal(model(history).interests, first)


def test_serves_repeatably_with_fixed_logits():
    """The same interests for the same history in every call and batch, with the weights of a model that drew them."""
    torch.manual_seed(0)
    trained, history = MIND(30, 8), torch.randint(1, 30, (4, 9))
    assert not torch.equal(trained(history).interests, trained(history).interests)
    serving = MIND(30, 8, initial_logits="fixed", max_items=9).eval()
    missing, unexpected = serving.load_state_dict(trained.state_dict(), strict=False)
    assert (missing, unexpected) == (["capsules.logits"], [])
    first = serving(history).interests
    assert torch.equal(serving(history).interests, first)
    assert torch.equal(serving(history[2:]).interests, first[2:])
    copy = MIND(30, 8, initial_logits="fixed", max_items=9)
    copy.load_state_dict(serving.state_dict())
    assert torch.equal(copy(history).interests, first)


def test_scores():
    torch.manual_seed(0)
    model = MIND(30, 8, 3)
    vectors = torch.randn(2, 3, 8)
    mask = torch.tensor([[True, True, True], [False, True, False]])
    each = vectors @ model.embedding.weight.T
    scores = model.scores(vectors, mask)
    assert scores.shape == (2, 30)
    torch.testing.assert_close(scores[0, 1:], each[0].amax(0)[1:])
    torch.testing.assert_close(scores[1, 1:], each[1, 1, 1:])
    torch.testing.assert_close(model.scores(vectors[:, 1])[:, 1:], each[:, 1, 1:])
    assert scores[:, 0].tolist() == [-math.inf] * 2


def test_learns_what_users_take_next():
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(0)
    model = MIND(41, 16, 4)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    losses = []
    for _ in range(250):
        history, target = histories(128, 12, generator)
        loss = torch.nn.functional.cross_entropy(model.scores(model(history, target).user), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    # The target chooses the interest, so that only the item within its kind is left to guess: log 10.
    assert losses[0] > math.log(40) - 0.5
    assert sum(losses[-10:]) / 10 < math.log(20)

    history, target = histories(256, 12, generator)
    with torch.no_grad():
        output = model(history)
        best = model.scores(output.interests, output.interest_mask).topk(20).indices
    found = (best == target[:, None]).any(dim=1).float().mean().item()
    assert found > 0.8  # half of the items would have half of the targets by chance


def test_padding_trains_nothing():
    model = MIND(30, 8)
    model(torch.zeros(2, 5, dtype=torch.int64), torch.tensor([1, 2])).interests.sum().backward()
    assert torch.equal(model.embedding.weight.grad, torch.zeros(30, 8))


@pytest.mark.parametrize(
    ("options", "message"),
    [({"items": 1}, "items must be at least 2"), ({"interests": 0}, "interests must be at leas")],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        MIND(**({"items": 30, "size": 8} | options))
