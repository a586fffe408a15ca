"""MIND of Li et al.: Multi-Interest Network with Dynamic Routing for Recommendation at Tmall, 2019."""

import math
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn

from capsroute.models.exporting import exportable
from capsroute.nn import InterestCapsules, LabelAwareAttention, interest_counts, interest_mask, targets
from capsroute.routing import checks, proxies

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from capsroute.routing.keywords import RoutingKeywords

__all__ = ["MIND", "MINDOutput"]

PADDING = 0  # the id that stands where a history has no item


@exportable
class MINDOutput(NamedTuple):
    """What :class:`MIND` returns."""

    interests: Tensor
    """Interests of each user, ``[B, J, D]``, 0 where absent."""
    interest_mask: Tensor
    """Which of them the user has, bool ``[B, J]``."""
    user: Tensor | None
    """The vector of each user for the target, ``[B, D]``; None without a target."""


class MIND(nn.Module):
    """Item embeddings, interest capsules, a projection, and label-aware attention to the target while training.

    The form that ComiRec gives the network: user features, which the paper concatenates with every interest, are left
    out. With N items and vectors of D components it has ``N * D + 2 * (D * D + D)`` parameters: 23,559,232 for the
    367,983 items of the book data and D = 64. The capsules' matrix has a bias, and so has the projection.

    Args:
        items: Number of item ids, N, with 0 for padding.
        size: Components of items and interests, D.
        interests: The most interests that a user has, J.
        dynamic: Whether the length of a history decides how many interests its user has; see
            :func:`capsroute.nn.interest_counts`. ComiRec gives ``interests`` to all.
        power: Of the attention; by default the best interest alone is trained, as ComiRec does.
        initial_logits: ``"per_call"`` draws the initial logits anew in every call, in training and afterwards, as
            ComiRec does: the same user gets other interests each time. For a model that is served or exported,
            ``"fixed"`` draws them once, when it is made, and keeps them in its state dict: the same history then gives
            the same interests, in whatever batch.
        max_items: Longest history, I; needed with ``"fixed"``.
        **options: Of the routing; see :class:`capsroute.nn.InterestCapsules`.

    Raises:
        TypeError: An option of the wrong kind.
        ValueError: A size below 1, or an option that is not allowed.
    """

    def __init__(
        self,
        items: int,
        size: int = 64,
        interests: int = 4,
        *,
        dynamic: bool = True,
        power: float = math.inf,
        initial_logits: str = "per_call",
        max_items: int | None = None,
        **options: "Unpack[RoutingKeywords]",
    ) -> None:
        super().__init__()
        items = checks.whole("items", items)
        if items < 2:
            raise ValueError(f"items must be at least 2, one of them for padding, got {items}")
        size, interests = checks.at_least_one(size=size, interests=interests)
        self.dynamic = checks.flag("dynamic", dynamic)
        self.capsules = InterestCapsules(
            size,
            interests,
            bilinear_type=0,
            max_items=max_items,
            vote_bias=True,
            initial_logits=initial_logits,
            truncated_logits=True,
            **options,
        )
        self.embedding = nn.Embedding(items, size, padding_idx=PADDING)
        self.projection = nn.Linear(size, size)
        self.attention = LabelAwareAttention(power)

    def forward(
        self, history: Tensor, target: Tensor | None = None, *, generator: torch.Generator | None = None
    ) -> MINDOutput:
        """The interests of users, and their vectors for a target.

        Args:
            history: Ids of items, ``[B, I]``, int64, from 0 to N - 1, 0 where a history has ended.
            target: The item that came next, ``[B]``, int64, likewise.
            generator: For the initial logits that are drawn in every call.

        Raises:
            TypeError: Ids that are no tensor of int64.
            ValueError: Their shape or device does not fit, or there is no such item; see
                :func:`capsroute.nn.margin_loss` about GPUs.
        """
        target, generator = proxies.specialized("target", target), proxies.specialized("generator", generator)
        history = targets.item_ids("history", history, "[B, I]", (-1, -1), self.embedding.weight)
        if target is not None:
            target = targets.item_ids("target", target, "[B]", (history.shape[0],), self.embedding.weight)
        present = history != PADDING
        lengths = present.sum(dim=1)
        count = self.capsules.interests
        counts = interest_counts(lengths, count) if self.dynamic else torch.full_like(lengths, count)
        routed = self.capsules(self.embedding(history), present, counts=counts, generator=generator)
        mask = interest_mask(counts, count)
        interests = torch.relu(self.projection(routed)) * mask[:, :, None]
        user = None if target is None else self.attention(interests, self.embedding(target), mask)
        return MINDOutput(interests, mask, user)

    def scores(self, vectors: Tensor, interest_mask: Tensor | None = None) -> Tensor:
        """How well every item fits, ``[B, N]``: by the best interest. Padding fits nobody: its score is -inf.

        Args:
            vectors: ``[B, D]`` as :attr:`MINDOutput.user`, for training; or ``[B, J, D]``, all interests, for
                retrieval.
            interest_mask: bool ``[B, J]``, False for interests that do not count.

        Raises:
            TypeError: A tensor of another kind or dtype.
            ValueError: Its shape or device does not fit.
        """
        size = self.embedding.embedding_dim
        if checks.floating("vectors", vectors).dim() not in (2, 3) or vectors.shape[-1] != size:
            raise ValueError(f"vectors must have the shape [B, {size}] or [B, J, {size}], got {list(vectors.shape)}")
        if interest_mask is not None:
            axes = checks.rank("vectors", vectors, "B, J, D")[:2]  # there is nothing to choose from in [B, D]
            checks.mask("interest_mask", interest_mask, "vectors", vectors, "B, J", axes)
        scores = vectors @ self.embedding.weight.T
        if interest_mask is not None:
            scores = scores.masked_fill(~interest_mask[:, :, None], -math.inf)
        if scores.dim() == 3:
            scores = scores.amax(dim=1)
        return scores.index_fill(1, torch.tensor([PADDING], device=scores.device), -math.inf)
