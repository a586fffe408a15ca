"""Interest capsules: the several interests of a user, routed from a sequence of items (MIND, ComiRec-DR)."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from capsroute.nn.interest_counts import check_integers, interest_mask, is_integer
from capsroute.nn.leaf import Leaf
from capsroute.nn.shared_votes import route_shared_votes
from capsroute.routing import checks, functional
from capsroute.routing.result import RoutingResult

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from capsroute.routing.keywords import RoutingKeywords

__all__ = ["InterestCapsules"]

_BILINEAR_TYPES = (0, 1, 2)
_INITIAL_LOGITS = ("zeros", "per_call", "fixed")


class InterestCapsules(Leaf):
    """Routes the items of a user's history to a few interests, by agreement.

    The behaviour-to-interest capsules of Li et al., "Multi-Interest Network with Dynamic Routing for Recommendation at
    Tmall", 2019 (MIND), and of Cen et al., "Controllable Multi-Interest Framework for Recommendation", 2020
    (ComiRec-DR). The votes are ``u_bij = W x_bi`` with the matrix W of a *bilinear type*:

    * 0: one for all items and all interests (MIND). All interests then get the same votes, and only initial logits
      that differ make them differ. The product with W is taken once, and its result is not copied J times.
    * 1: one for each interest, for all items.
    * 2: one for each place in the sequence and each interest (ComiRec-DR).

    Args:
        in_size: Components of an item, d.
        interests: Interests, J: the most that a user has.
        out_size: Components of an interest, D; None for as many as an item has.
        bilinear_type: 0, 1 or 2.
        max_items: Longest sequence, I; needed with type 2 and for ``"fixed"`` logits, where shorter sequences use the
            first places. Otherwise sequences may have any length.
        vote_bias: Whether W x has a learnable bias, as a dense layer has (ComiRec has one, with types 0 and 1).
        initial_logits: ``"zeros"``; ``"per_call"`` for random ones, drawn anew in every call, in training and
            afterwards; ``"fixed"`` for random ones drawn once, which stay in the buffer ``logits``: what a model of
            type 0 needs that is served or exported, to give a user the same interests in every call. None:
            ``"per_call"`` with type 0, ``"zeros"`` otherwise. They are never learned.
        logits_std: Standard deviation of random logits.
        truncated_logits: Whether random logits beyond two standard deviations are drawn again (ComiRec).
        mask_after_softmax: How absent items are left out. False: they take no part in any softmax. True: they do, and
            their coupling is set to 0 afterwards. This matters with ``softmax_over="inputs"`` only (torch-rechub),
            where the padding then takes its share of every interest, and NaN in absent items spreads.
        init_std: Standard deviation of the initial weight; None for ``1 / sqrt(D)``, which on average keeps the length
            of an item.
        generator: For the draw of ``"fixed"`` logits.
        device: Of the parameters.
        dtype: Of the parameters.
        **options: Of :func:`capsroute.dynamic_routing`. Where nothing is said, ``gradient="last"`` and ``eps=1e-9``, as
            these models have them; all else has its default.

    Attributes:
        weight: ``[1, 1, D, d]``, ``[1, J, D, d]`` or ``[I, J, D, d]`` with type 0, 1 or 2. In memory this is what a
            ``torch.nn.Linear(d, J * D)`` has, or ``[1, I, J * D, d]``: a ``reshape`` makes one of the other.
        bias: ``[1, D]`` or ``[J, D]`` with type 0 or 1, or None.
        logits: ``[I, J]`` with ``"fixed"`` initial logits, or None.
        options: A :class:`capsroute.routing.options.RoutingOptions`.

    Raises:
        TypeError: An option of the wrong kind.
        ValueError: A size below 1, an unknown choice, or a combination that makes no sense.
    """

    weight: nn.Parameter
    bias: nn.Parameter | None
    logits: Tensor | None

    def __init__(
        self,
        in_size: int,
        interests: int,
        out_size: int | None = None,
        *,
        bilinear_type: int = 2,
        max_items: int | None = None,
        vote_bias: bool = False,
        initial_logits: str | None = None,
        logits_std: float = 1.0,
        truncated_logits: bool = False,
        mask_after_softmax: bool = False,
        init_std: float | None = None,
        generator: torch.Generator | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        **options: "Unpack[RoutingKeywords]",
    ) -> None:
        super().__init__()
        in_size, interests, out_size = checks.at_least_one(
            in_size=in_size, interests=interests, out_size=in_size if out_size is None else out_size
        )
        if max_items is not None:
            (max_items,) = checks.at_least_one(max_items=max_items)
        bilinear_type = checks.whole("bilinear_type", bilinear_type, least=0)
        if bilinear_type not in _BILINEAR_TYPES:
            raise ValueError(
                f"bilinear_type must be one of {', '.join(map(str, _BILINEAR_TYPES))}, got {bilinear_type!r}"
            )
        if initial_logits is None:
            initial_logits = "per_call" if bilinear_type == 0 else "zeros"
        initial_logits = checks.choice("initial_logits", initial_logits, _INITIAL_LOGITS)
        vote_bias = checks.flag("vote_bias", vote_bias)
        if max_items is None and (bilinear_type == 2 or initial_logits == "fixed"):
            raise ValueError("max_items must be given with bilinear_type=2 and with initial_logits='fixed'")
        if vote_bias and bilinear_type == 2:
            raise ValueError("vote_bias must be False with bilinear_type=2")
        self.in_size = in_size
        self.interests = interests
        self.out_size = out_size
        self.bilinear_type = bilinear_type
        self.max_items = max_items
        self.initial_logits = initial_logits
        self.logits_std = checks.number("logits_std", logits_std, "a finite number of at least 0", or_equal=True)
        self.truncated_logits = checks.flag("truncated_logits", truncated_logits)
        self.mask_after_softmax = checks.flag("mask_after_softmax", mask_after_softmax)
        self.init_std = checks.spread("init_std", init_std)
        self.options = checks.keyword_options({"gradient": "last", "eps": 1e-9, **options})

        def empty(*shape: int) -> Tensor:
            return torch.empty(shape, device=device, dtype=dtype)

        places = max_items if bilinear_type == 2 and max_items is not None else 1
        matrices = 1 if bilinear_type == 0 else interests
        self.weight = nn.Parameter(empty(places, matrices, out_size, in_size))
        self.register_parameter("bias", nn.Parameter(empty(matrices, out_size)) if vote_bias else None)
        fixed = initial_logits == "fixed" and max_items is not None
        self.register_buffer("logits", empty(max_items or 0, interests) if fixed else None)
        self.reset_parameters(generator)

    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draws the weight from N(0, init_std^2), sets the bias to 0, and draws fixed logits with ``generator``."""
        nn.init.normal_(self.weight, std=self.out_size**-0.5 if self.init_std is None else self.init_std)
        if self.bias is not None:
            nn.init.zeros_(self.bias)
        if self.logits is not None:
            self._draw(self.logits, generator)

    def forward(
        self,
        items: Tensor,
        mask: Tensor | None = None,
        *,
        counts: Tensor | None = None,
        logits: Tensor | None = None,
        input_weight: Tensor | None = None,
        generator: torch.Generator | None = None,
        details: Sequence[str] | None = None,
    ) -> Tensor | RoutingResult:
        """Routes sequences of items to interests.

        Args:
            items: ``[B, I, d]``, dtype of the weight (or any, under autocast).
            mask: Which items are there, ``[B, I]``, bool, or of an integer dtype with 0 where an item is absent.
            counts: How many interests each user has, ``[B]``, an integer dtype: see
                :func:`capsroute.nn.interest_counts`. The others take no part, and are 0. Reading them waits for the
                device, where it is not the CPU.
            logits: Initial logits ``[I, J]`` or ``[B, I, J]`` in place of those of the layer.
            input_weight: Multiplies the coupling coefficients after the softmax, ``[B, I]``, dtype of ``items``.
            generator: For the draw of ``"per_call"`` logits; by default torch's own of the device. They are drawn as
                one tensor ``[B, J, I]`` of the dtype of ``items``.
            details: None, or some of ``"coupling"`` (before any weight of the items, so before ``mask`` with
                ``mask_after_softmax``), ``"pre_squash"`` and ``"agreement"``.

        Returns:
            Interests ``[B, J, D]``; 0 for a user without any item. With ``details`` a :class:`capsroute.RoutingResult`,
            whose first field they are.

        Raises:
            TypeError: A tensor of the wrong dtype.
            ValueError: Shapes that do not fit, sequences longer than ``max_items``, or ``counts`` that are negative or
                above the number of interests.
        """
        if not isinstance(items, Tensor):
            more = {"input_weight": input_weight, "generator": generator, "details": details}
            return self._node("items", items, mask=mask, counts=counts, logits=logits, **more)
        for name, tensor in (("items", items), ("logits", logits), ("input_weight", input_weight)):
            if tensor is not None:
                checks.floating(name, tensor)
        if items.dim() != 3 or items.shape[2] != self.in_size:
            raise ValueError(f"items must have the shape [B, I, {self.in_size}], got {list(items.shape)}")
        batch, length, _ = items.shape
        if self.max_items is not None and length > self.max_items:
            raise ValueError(f"items [B, I, d] must have I of at most max_items={self.max_items}, got {length}")
        if counts is not None:
            check_integers("counts", counts)
            checks.shape("counts", counts, "B", (batch,))
        input_mask = None if mask is None else _present(mask, (batch, length))
        if input_mask is not None and self.mask_after_softmax:
            kept = input_mask.to(items.dtype)
            input_weight = kept if input_weight is None else kept * input_weight
            input_mask = None
        keywords: dict[str, Any] = {
            "logits": self._initial_logits(items, generator) if logits is None else logits,
            "input_mask": input_mask,
            "input_weight": input_weight,
            "output_mask": None if counts is None else interest_mask(counts, self.interests),
        }
        if self.bilinear_type == 0:
            votes = self._products(items, input_mask)
            if details is None:
                return route_shared_votes(votes, self.interests, self.options, **keywords)
            each = votes[:, :, None, :].expand(-1, -1, self.interests, -1)
            return functional.route_votes(each, details=details, **keywords, **self.options.keywords())
        keywords |= {"details": details, **self.options.keywords()}
        routed: Tensor | RoutingResult
        if self.bias is not None:
            votes = self._products(items, input_mask).unflatten(2, (self.interests, self.out_size))
            routed = functional.route_votes(votes, **keywords)
            return routed
        weight = self.weight[:length] if self.bilinear_type == 2 else self.weight
        routed = functional.dynamic_routing(items, weight, **keywords)
        return routed

    def _products(self, items: Tensor, input_mask: Tensor | None) -> Tensor:
        """W x of all items with types 0 and 1, ``[B, I, D]`` or ``[B, I, J * D]``, by one matrix product."""
        if input_mask is not None:  # routing never uses an absent item, but the gradient of the product would
            items = items.masked_fill(~input_mask[:, :, None], 0)
        bias = None if self.bias is None else self.bias.flatten()
        return nn.functional.linear(items, self.weight.flatten(0, 2), bias)

    def _initial_logits(self, items: Tensor, generator: torch.Generator | None) -> Tensor | None:
        """``[I, J]``, ``[B, I, J]`` or None."""
        batch, length, _ = items.shape
        if self.logits is not None:
            return self.logits[:length]
        if self.initial_logits == "zeros":
            return None
        return self._draw(items.new_empty((batch, self.interests, length)), generator).transpose(1, 2)

    def _draw(self, logits: Tensor, generator: torch.Generator | None) -> Tensor:
        """Random logits, in place."""
        std = self.logits_std
        if not self.truncated_logits:
            return logits.normal_(std=std, generator=generator)
        # By the inverse of the distribution function: drawing again, as torch's trunc_normal_ does, asks the numbers
        # whether to, which no exporter can follow.
        inside = math.erf(2 / math.sqrt(2))  # the share within two standard deviations
        logits.uniform_(-inside, inside, generator=generator).erfinv_()
        return logits.mul_(math.sqrt(2) * std).clamp_(-2 * std, 2 * std)

    def extra_repr(self) -> str:
        """What ``print`` shows."""
        options = ", ".join(f"{name}={value!r}" for name, value in self.options.given().items())
        return (
            f"in_size={self.in_size}, interests={self.interests}, out_size={self.out_size}, "
            f"bilinear_type={self.bilinear_type}, max_items={self.max_items}, vote_bias={self.bias is not None}, "
            f"initial_logits={self.initial_logits!r}, logits_std={self.logits_std}, "
            f"truncated_logits={self.truncated_logits}, mask_after_softmax={self.mask_after_softmax}, {options}"
        )


def _present(mask: Any, expected: tuple[int, int]) -> Tensor:
    """The mask as bool ``[B, I]``."""
    mask = checks.dense("mask", mask, "a torch.Tensor or None")
    if mask.dtype != torch.bool and not is_integer(mask):
        raise TypeError(
            f"mask must have dtype torch.bool or an integer dtype, got {mask.dtype}; for a float see input_weight"
        )
    checks.shape("mask", mask, "B, I", expected)
    return mask.bool()
