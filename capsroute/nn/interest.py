"""Interest capsules: the several interests of a user, routed from a sequence of items (MIND, ComiRec-DR)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from capsroute import checks, functional

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from capsroute.options import RoutingKeywords

__all__ = ["InterestCapsules", "interest_counts", "interest_mask"]

_BILINEAR_TYPES = (0, 1, 2)
_INITIAL_LOGITS = ("zeros", "per_call", "fixed")
_ROUNDINGS = ("down", "up")


class InterestCapsules(nn.Module):
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
            afterwards; ``"fixed"`` for random ones drawn once, which stay in the buffer ``logits``. None:
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
        options: A :class:`capsroute.options.RoutingOptions`.

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
        **options: Unpack[RoutingKeywords],
    ) -> None:
        super().__init__()
        out_size = in_size if out_size is None else out_size
        sizes = {"in_size": in_size, "interests": interests, "out_size": out_size}
        if max_items is not None:
            sizes["max_items"] = max_items
        for name, value in sizes.items():
            if value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        if bilinear_type not in _BILINEAR_TYPES:
            raise ValueError(
                f"bilinear_type must be one of {', '.join(map(str, _BILINEAR_TYPES))}, got {bilinear_type!r}"
            )
        if initial_logits is None:
            initial_logits = "per_call" if bilinear_type == 0 else "zeros"
        checks.choice("initial_logits", initial_logits, _INITIAL_LOGITS)
        checks.number("logits_std", logits_std, "a finite number of at least 0", or_equal=True)
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
        self.logits_std = logits_std
        self.truncated_logits = truncated_logits
        self.mask_after_softmax = mask_after_softmax
        self.init_std = init_std
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
    ) -> Tensor:
        """Routes sequences of items to interests.

        Args:
            items: ``[B, I, d]``, dtype of the weight (or any, under autocast).
            mask: Which items are there, ``[B, I]``, bool, or of an integer dtype with 0 where an item is absent.
            counts: How many interests each user has, ``[B]``, an integer dtype: see :func:`interest_counts`. The others
                take no part, and are 0. Reading them waits for the device, where it is not the CPU.
            logits: Initial logits ``[I, J]`` or ``[B, I, J]`` in place of those of the layer.
            input_weight: Multiplies the coupling coefficients after the softmax, ``[B, I]``, dtype of ``items``.
            generator: For the draw of ``"per_call"`` logits; by default torch's own of the device. They are drawn as
                one tensor ``[B, J, I]`` of the dtype of ``items``.

        Returns:
            Interests ``[B, J, D]``; 0 for a user without any item.

        Raises:
            TypeError: A tensor of the wrong dtype.
            ValueError: Shapes that do not fit, sequences longer than ``max_items``, or ``counts`` that are negative or
                above the number of interests.
        """
        if items.dim() != 3 or items.shape[2] != self.in_size:
            raise ValueError(f"items must have the shape [B, I, {self.in_size}], got {list(items.shape)}")
        batch, length, _ = items.shape
        if self.max_items is not None and length > self.max_items:
            raise ValueError(f"items [B, I, d] must have I of at most max_items={self.max_items}, got {length}")
        if counts is not None:
            _check_integers("counts", counts)
            checks.shape("counts", counts, "B", (batch,))
        input_mask = None if mask is None else _present(mask, (batch, length))
        if input_mask is not None and self.mask_after_softmax:
            kept = input_mask.to(items.dtype)
            input_weight = kept if input_weight is None else kept * input_weight
            input_mask = None
        keywords: dict[str, Any] = {
            **self.options.keywords(),
            "logits": self._initial_logits(items, generator) if logits is None else logits,
            "input_mask": input_mask,
            "input_weight": input_weight,
            "output_mask": None if counts is None else interest_mask(counts, self.interests),
        }
        if self.bilinear_type == 0 or self.bias is not None:
            if input_mask is not None:  # routing never uses an absent item, but the gradient of the product would
                items = items.masked_fill(~input_mask[:, :, None], 0)
            return functional.route_votes(self._votes(items), **keywords)
        weight = self.weight[:length] if self.bilinear_type == 2 else self.weight
        return functional.dynamic_routing(items, weight, **keywords)

    def _votes(self, items: Tensor) -> Tensor:
        """``[B, I, J, D]`` by one matrix product over all items; with type 0 the same memory for every interest."""
        bias = None if self.bias is None else self.bias.flatten()
        votes = nn.functional.linear(items, self.weight.flatten(0, 2), bias)
        return votes.unflatten(2, (-1, self.out_size)).expand(-1, -1, self.interests, -1)

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
        if self.truncated_logits and std > 0:
            return nn.init.trunc_normal_(logits, std=std, a=-2 * std, b=2 * std, generator=generator)
        return logits.normal_(std=std, generator=generator)

    def extra_repr(self) -> str:
        """What ``print`` shows."""
        options = ", ".join(f"{name}={value!r}" for name, value in self.options.given().items())
        return (
            f"in_size={self.in_size}, interests={self.interests}, out_size={self.out_size}, "
            f"bilinear_type={self.bilinear_type}, max_items={self.max_items}, vote_bias={self.bias is not None}, "
            f"initial_logits={self.initial_logits!r}, logits_std={self.logits_std}, "
            f"truncated_logits={self.truncated_logits}, mask_after_softmax={self.mask_after_softmax}, {options}"
        )


def interest_counts(lengths: Tensor, interests: int, rounding: str = "down") -> Tensor:
    """How many interests users have by the length of their history: ``max(1, min(interests, log2(length)))``.

    Li et al. 2019 (MIND), equation 8, which leaves the rounding open.

    Args:
        lengths: Items of each user, ``[B]``, an integer dtype.
        interests: The most, J.
        rounding: Of the logarithm: ``"down"`` (torch-rechub), or ``"up"`` (TorchEasyRec).

    Returns:
        ``[B]``, int64, from 1 to ``interests``.

    Raises:
        TypeError: ``lengths`` is not of an integer dtype.
        ValueError: ``lengths`` is not ``[B]``, ``interests`` is below 1, or ``rounding`` is unknown.
    """
    _check_integers("lengths", lengths)
    if interests < 1:
        raise ValueError(f"interests must be at least 1, got {interests}")
    checks.choice("rounding", rounding, _ROUNDINGS)
    # Whole numbers compared with powers of two, which no rounding of a logarithm can spoil. int64 has 62 of them.
    exponents = torch.arange(min(interests, 62), device=lengths.device)
    reached = lengths[:, None] >= 2 ** (exponents + 1) if rounding == "down" else lengths[:, None] > 2**exponents
    return reached.sum(dim=1).clamp_min(1)


def interest_mask(counts: Tensor, interests: int) -> Tensor:
    """Which interests users have that have the first ``counts`` of them: bool ``[B, J]``.

    Args:
        counts: ``[B]``, an integer dtype, from 0 to ``interests``. Inside ``torch.compile`` the values are not checked.
        interests: The most, J.

    Raises:
        TypeError: ``counts`` is not of an integer dtype.
        ValueError: ``counts`` is not ``[B]``, or a value is negative or above ``interests``.
    """
    _check_integers("counts", counts)
    if not torch.compiler.is_compiling() and counts.numel() > 0:
        least, most = (int(value) for value in counts.aminmax())
        if least < 0 or most > interests:
            raise ValueError(f"counts must be from 0 to interests={interests}, got {least if least < 0 else most}")
    return torch.arange(interests, device=counts.device) < counts[:, None]


def _is_integer(tensor: Tensor) -> bool:
    return not (tensor.is_floating_point() or tensor.is_complex() or tensor.dtype == torch.bool)


def _check_integers(name: str, value: object) -> None:
    if not isinstance(value, Tensor):
        raise TypeError(f"{name} must be a torch.Tensor of an integer dtype, got {type(value).__name__}")
    if not _is_integer(value):
        raise TypeError(f"{name} must have an integer dtype, got {value.dtype}")
    checks.rank(name, value, "B")


def _present(mask: object, expected: tuple[int, int]) -> Tensor:
    """The mask as bool ``[B, I]``."""
    if not isinstance(mask, Tensor):
        raise TypeError(f"mask must be a torch.Tensor or None, got {type(mask).__name__}")
    if mask.dtype != torch.bool and not _is_integer(mask):
        raise TypeError(
            f"mask must have dtype torch.bool or an integer dtype, got {mask.dtype}; for a float see input_weight"
        )
    checks.shape("mask", mask, "B, I", expected)
    return mask.bool()
