"""Label-aware attention: one vector of a user out of several interests, chosen by the item that is looked at."""

import math

import torch
from torch import Tensor

from capsroute.nn.leaf import Leaf
from capsroute.nn.one_hot import one_hot
from capsroute.routing import checks

__all__ = ["LabelAwareAttention"]

_FORMS = ("power", "scale")


class LabelAwareAttention(Leaf):
    """Weighs the interests of a user by how well each fits a target item.

    With the scores ``a_bj = interests_bj . target_b`` the weights are ``softmax_j(a_bj ^ power)`` (Li et al.,
    "Multi-Interest Network with Dynamic Routing for Recommendation at Tmall", 2019, section 3.5), or
    ``softmax_j(power * a_bj)``. A power of 0 weighs all interests alike; the larger it is, the more the best one
    counts; with ``math.inf`` it is chosen alone, as the limit is meant.

    Args:
        power: Exponent or factor p, at least 0; ``math.inf`` for hard attention.
        form: ``"power"`` as in the paper, where a negative score keeps its sign, ``-|a| ^ p``, so that a better score
            never weighs less and the power need not be whole; or ``"scale"`` (TorchEasyRec). The power of long vectors
            soon exceeds the range of the dtype, which makes NaN: normalise them, or take ``"scale"``.

    Raises:
        TypeError: ``power`` is no number, or ``form`` no string.
        ValueError: ``power`` is negative or NaN, or ``form`` is unknown.
    """

    def __init__(self, power: float = 1.0, form: str = "power") -> None:
        super().__init__()
        if power != math.inf:
            checks.number("power", power, "a number of at least 0", or_equal=True)
        checks.choice("form", form, _FORMS)
        self.power = float(power)
        self.form = form

    def forward(self, interests: Tensor, target: Tensor, interest_mask: Tensor | None = None) -> Tensor:
        """The vector of each user.

        Args:
            interests: ``[B, J, D]``, floating point.
            target: The item, ``[B, D]``, dtype of ``interests`` (or any, under autocast).
            interest_mask: bool ``[B, J]``, False where an interest is absent: its weight is 0.

        Returns:
            ``[B, D]``; 0 for a user without any interest.

        Raises:
            TypeError: ``target`` is not a floating-point tensor, or ``interest_mask`` not a bool one.
            ValueError: Shapes or devices that do not fit.
        """
        if not isinstance(interests, Tensor):
            return self._node("interests", interests, target, interest_mask=interest_mask)
        batch, count, size = checks.rank("interests", interests, "B, J, D")
        checks.floating("target", target)
        checks.same_kind("target", target, "interests", interests, dtype=False)
        checks.shape("target", target, "B, D", (batch, size))
        if interest_mask is not None:
            checks.mask("interest_mask", interest_mask, "interests", interests, "B, J", (batch, count))
        scores = torch.einsum("bjd,bd->bj", interests, target)
        return torch.einsum("bj,bjd->bd", self._weights(scores, interest_mask), interests)

    def _weights(self, scores: Tensor, present: Tensor | None) -> Tensor:
        """What each interest counts, ``[B, J]``."""
        if math.isinf(self.power):
            chosen = (scores if present is None else scores.masked_fill(~present, -math.inf)).argmax(dim=1)
            weights = one_hot(chosen, scores.shape[1]).to(scores.dtype)
        else:
            sharpened = self._sharpened(scores)
            if present is not None:
                # The least number, not -inf: the softmax of a row of -inf would be NaN, its gradient too.
                sharpened = sharpened.masked_fill(~present, torch.finfo(sharpened.dtype).min)
            weights = sharpened.softmax(dim=1)
        return weights if present is None else weights * present

    def _sharpened(self, scores: Tensor) -> Tensor:
        if self.form == "scale" or self.power in (0, 1):
            return scores * self.power
        size = scores.abs()
        zero = size == 0  # a power below 1 has no finite slope there
        return torch.where(zero, 0.0, size.masked_fill(zero, 1.0).pow(self.power) * scores.sign())

    def extra_repr(self) -> str:
        """What ``print`` shows."""
        return f"power={self.power}, form={self.form!r}"
