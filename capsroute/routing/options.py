"""Beside all floors: the options of a routing call, one row each.

A row says name, type, default, kind and range of an option, where it acts, and what it is, in one line. From the rows
come the packed lists that the registered ops take, the checks, and what ``scripts/generate_options.py`` writes: the
types of keywords for type checkers (:mod:`.keywords`), the fields, conversions and checks of the core
(``csrc/shared/option_table.h``), and the table of docs/options.md.
"""

from __future__ import annotations

import difflib
import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple, get_type_hints

from .values import Count, Flag, OneOf, Real, listed, number

DETAILS = ("coupling", "pre_squash", "agreement")
BACKENDS = ("reference", "cpu", "cuda", "cuda_emulated")
MOST_TEMPERATURES = 32
_SQUASH_CONSTANTS = {"shifted": 0.5, "power": 1.0}  # of those that have one


@dataclass(frozen=True)
class Row:
    """What there is to say of an option beside its name, type and default.

    Attributes:
        kind: Kind and range of its values; None where they follow another option, and :func:`check` knows them.
        acts: Where: in the ``"pass"`` over the votes, in the ``"step"`` on ``[B, J, D]``, in ``"backward"`` only, or
            for the ``"choice"`` of a kernel.
        text: What it is.
        place: In the packed ints, or in the packed floats where the kind is a number. Exported programs hold these
            lists: a new option goes to the end, and a place is never given again.
        field: Its name in the core where it has another there; ``""`` where the core does not need it.
        tried: What tests try of a number beside the default.
        public: Whether callers set it.
    """

    kind: Flag | OneOf | Count | Real | None
    acts: str
    text: str
    place: int
    field: str | None = None
    tried: tuple[Any, ...] = ()
    public: bool = True


class RoutingOptions(NamedTuple):
    """Everything about a call that is not a tensor. The defaults are those of the public functions."""

    iterations: Annotated[
        int,
        Row(
            Count(),
            "pass",
            "Number T of routing iterations, at least 1. T = 1 without ``logits`` is the uniform coupling.",
            0,
            tried=(1, 2, 4, 5),
        ),
    ] = 3
    softmax_over: Annotated[
        str,
        Row(
            OneOf(("outputs", "inputs")),
            "pass",
            "What a softmax runs over; over ``outputs`` each input divides itself among them, as in the paper.",
            1,
            field="softmax_over_inputs",
        ),
    ] = "outputs"
    leaky: Annotated[
        bool, Row(Flag(), "pass", "Add one zero logit to each softmax over outputs and drop its share.", 2)
    ] = False
    gradient: Annotated[
        str,
        Row(
            OneOf(("all", "last", "detached_votes")),
            "backward",
            "``all`` differentiates through all iterations; ``last`` takes what the earlier ones computed, and the "
            "votes in the logits of the last, for constants; ``detached_votes`` takes the votes for constants in all "
            "but the last sum, so that bias, logits and ``input_weight`` get gradients through all iterations.",
            3,
        ),
    ] = "all"
    eps: Annotated[float, Row(Real(least=0), "step", "In the squash, at least 0.", 0, tried=(0.0, 1e-2))] = 1e-8
    squash: Annotated[
        str,
        Row(
            OneOf(("standard", "norm_eps", "clamped", "shifted", "exponential", "power", "none")),
            "step",
            "How the sum s is scaled; :func:`capsroute.nn.squash` has the formulae.",
            8,
        ),
    ] = "standard"
    squash_constant: Annotated[
        float | None, Row(None, "step", "The number in ``shifted`` (0.5 by default) and ``power`` (1).", 1)
    ] = None
    logit_update: Annotated[
        str,
        Row(
            OneOf(("accumulate", "replace")),
            "step",
            "``accumulate``: initial logits and all agreements so far; ``replace``: the last agreement alone, from the "
            "second iteration on.",
            9,
            field="replace_logits",
        ),
    ] = "accumulate"
    agreement_factor: Annotated[
        float, Row(Real(), "step", "Multiplies every agreement that goes into the logits.", 2, tried=(0.6,))
    ] = 1.0
    temperature: Annotated[
        float | tuple[float, ...],
        Row(
            None,
            "step",
            "Divides the logits before each softmax; a number above 0, or one for each iteration (of at most 32).",
            3,
        ),
    ] = 1.0
    coupling_given: Annotated[
        bool, Row(Flag(), "pass", "The initial logits are the coupling; nothing is routed.", 10, public=False)
    ] = False
    squash_output: Annotated[
        bool, Row(Flag(), "step", "False: the output is s of the last iteration.", 11, public=False)
    ] = True
    backend: Annotated[str, Row(OneOf(BACKENDS), "choice", "Which kernels run.", 4, field="", public=False)] = "cpu"
    allow_tf32: Annotated[
        bool | None,
        Row(
            OneOf((False, True, None)),
            "pass",
            "CUDA only: products of float32 may round to TF32; None asks torch's own switch when the op runs.",
            5,
            public=False,
        ),
    ] = None
    cuda_kernel: Annotated[
        str, Row(OneOf(("automatic", "plain", "fused")), "choice", "CUDA only: which kernels.", 6, public=False)
    ] = "automatic"
    cuda_fusion: Annotated[
        str,
        Row(
            OneOf(("automatic", "grid", "cluster", "launches")),
            "choice",
            "CUDA only: how the fused kernels get from one pass to the next.",
            7,
            public=False,
        ),
    ] = "automatic"

    def integers(self) -> list[int]:
        """The ``int[]`` argument of the ops; the last one is how many temperatures there are."""
        return [*(kind.pack(getattr(self, name)) for name, kind in _INTEGERS), len(self.temperatures())]

    def floats(self) -> list[float]:
        """The ``float[]`` argument of the ops: numbers by their places, and the temperatures in theirs."""
        return [
            *map(self._number, _BEFORE_TEMPERATURES),
            *self.temperatures(),
            *map(self._number, _BEHIND_TEMPERATURES),
        ]

    def _number(self, name: str) -> float:
        return self.constant_of_squash() if name == "squash_constant" else float(getattr(self, name))

    def constant_of_squash(self) -> float:
        """The number in the formula of the squash; 1 where it has none."""
        given = self.squash_constant
        return float(_SQUASH_CONSTANTS.get(self.squash, 1.0) if given is None else given)

    def temperatures(self) -> tuple[float, ...]:
        """One for all iterations, or one for each."""
        given = self.temperature
        return tuple(map(float, given)) if isinstance(given, tuple) else (float(given),)

    def keywords(self) -> dict[str, Any]:
        """The part that callers set and that is passed on by keyword."""
        return {name: getattr(self, name) for name in PUBLIC}

    def given(self) -> dict[str, object]:
        """Iterations, and what else differs from the defaults: for people to read."""
        own = self.keywords().items()
        return {name: value for name, value in own if name == "iterations" or value != getattr(DEFAULTS, name)}

    @classmethod
    def unpack(cls, integers: Sequence[int], floats: Sequence[float]) -> RoutingOptions:
        """The inverse of packing. Short lists come from older exported programs: defaults follow."""
        first = len(_BEFORE_TEMPERATURES)
        count = integers[len(_INTEGERS)] if len(integers) > len(_INTEGERS) else max(1, len(floats) - first)
        temperatures = tuple(floats[first : first + count]) or DEFAULTS.temperatures()
        packed = [*integers, *_DEFAULT_INTEGERS[len(integers) :]]
        found = {name: kind.unpack(value) for (name, kind), value in zip(_INTEGERS, packed, strict=False)}
        numbers = [*floats[:first], *_DEFAULT_FLOATS[len(floats) : first], *floats[first + count :]]
        found |= dict(zip((*_BEFORE_TEMPERATURES, *_BEHIND_TEMPERATURES), numbers, strict=False))
        if found["squash"] not in _SQUASH_CONSTANTS:
            found["squash_constant"] = None
        return cls(**found, temperature=temperatures[0] if len(temperatures) == 1 else temperatures)


ROWS: dict[str, Row] = {
    name: hint.__metadata__[0] for name, hint in get_type_hints(RoutingOptions, include_extras=True).items()
}
TYPES = get_type_hints(RoutingOptions)
PUBLIC = tuple(name for name, row in ROWS.items() if row.public)
DEFAULTS = RoutingOptions()

_PLACES = sorted((row.place, name) for name, row in ROWS.items())
_INTEGERS = [(name, kind) for _, name in _PLACES if isinstance(kind := ROWS[name].kind, Flag | OneOf | Count)]
_NUMBERS = [name for _, name in _PLACES if name == "squash_constant" or isinstance(ROWS[name].kind, Real)]
_BEFORE_TEMPERATURES = [name for name in _NUMBERS if ROWS[name].place < ROWS["temperature"].place]
_BEHIND_TEMPERATURES = [name for name in _NUMBERS if ROWS[name].place > ROWS["temperature"].place]
_DEFAULT_INTEGERS = DEFAULTS.integers()
_DEFAULT_FLOATS = DEFAULTS.floats()


def check(options: RoutingOptions) -> RoutingOptions:
    """Each option by its row, and the combinations that make no sense; returns them with plain values.

    Raises:
        TypeError, ValueError: What cannot be, by the name of the option.
    """
    for index, name, kind in _CHECKED:
        value = options[index]
        if value is not DEFAULTS[index]:
            plain = kind.check(name, value)
            if plain is not value:
                options = options._replace(**{name: plain})
    if options.leaky and options.softmax_over != "outputs":
        raise ValueError(
            f"leaky must be False unless softmax_over is 'outputs', got softmax_over={options.softmax_over!r}"
        )
    if options.squash_constant is not None:
        if options.squash not in _SQUASH_CONSTANTS:
            raise ValueError(
                f"squash_constant must be None unless squash is one of {', '.join(map(repr, _SQUASH_CONSTANTS))}, "
                f"got squash={options.squash!r}"
            )
        plain = number("squash_constant", options.squash_constant, "a finite number above 0")
        options = options._replace(squash_constant=plain)
    if options.temperature is not DEFAULTS.temperature:
        temperature = _checked_temperature(options)
        if temperature is not options.temperature:
            options = options._replace(temperature=temperature)
    return options


_CHECKED = [(index, name, row.kind) for index, (name, row) in enumerate(ROWS.items()) if row.public and row.kind]


def _checked_temperature(options: RoutingOptions) -> float | tuple[float, ...]:
    expected = "a finite number above 0, or a sequence of one for each iteration"
    given: Any = options.temperature
    values: Any = given if isinstance(given, tuple) else None if isinstance(given, float | int) else listed(given)
    if values is None:
        return _one_temperature("temperature", given, expected)
    if len(values) not in {1, options.iterations} or len(values) > MOST_TEMPERATURES:
        raise ValueError(
            f"temperature must be {expected} (iterations={options.iterations}, at most {MOST_TEMPERATURES}), "
            f"got {len(values)} numbers"
        )
    checked: tuple[float, ...] = tuple(  # options are hashable
        _one_temperature(f"temperature[{place}]", each, "a finite number above 0") for place, each in enumerate(values)
    )
    if values is given and all(map(operator.is_, checked, given)):
        return options.temperature
    return checked


def _one_temperature(name: str, value: object, expected: str) -> float:
    plain = number(name, value, expected)
    if 1 / float(plain) == float("inf"):  # what the kernels multiply with
        raise ValueError(f"{name} must be {expected}, and so must 1 / temperature; got {plain}")
    return plain


def of_keywords(keywords: Mapping[str, Any]) -> RoutingOptions:
    """The options that a caller gives by keyword, checked, with defaults for the others.

    Raises:
        TypeError: An unknown name.
        TypeError, ValueError: As :func:`check`.
    """
    if not keywords.keys() <= _PUBLIC:
        (unknown, *_) = keywords.keys() - _PUBLIC
        near = difflib.get_close_matches(unknown, PUBLIC, 1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise TypeError(f"unknown routing option {unknown!r}: expected one of {', '.join(PUBLIC)}{hint}")
    return check(RoutingOptions(**keywords))


_PUBLIC = frozenset(PUBLIC)


def _names(option: str) -> tuple[str, ...]:
    kind = ROWS[option].kind
    assert isinstance(kind, OneOf)
    return kind.names


SOFTMAX_AXES, GRADIENTS, SQUASHES, LOGIT_UPDATES = map(_names, ("softmax_over", "gradient", "squash", "logit_update"))
CUDA_KERNELS, CUDA_FUSIONS = map(_names, ("cuda_kernel", "cuda_fusion"))
