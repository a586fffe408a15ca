"""What a door is, and how a cell of the table is judged."""

from __future__ import annotations

import logging
import traceback
import warnings
from collections.abc import Callable, Collection, Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from .columns import COLUMNS, Case, case, tensors

WORKS = "works"
REFUSED = "refused"
APART = "not applicable"
FAILS = "fails"


class Door(NamedTuple):
    """A way that users take with a module."""

    name: str
    go: Callable[[Case], None]  # raises where the module does not do there what it does in eager mode
    package: str  # whose door it is
    quick: Collection[str]  # columns that every change tries; the night tries all
    refused: Mapping[str, str]  # by column: what our error says
    apart: Mapping[str, str]  # by column: why there is nothing to try

    def expected(self, column: str) -> str:
        """What the cell of a column must be."""
        return APART if column in self.apart else REFUSED if column in self.refused else WORKS

    def judge(self, column: str) -> str:
        """Try a column; the kind of the cell, and behind a colon the sentence that belongs to it."""
        if column in self.apart:
            return f"{APART}: {self.apart[column]}"
        torch.manual_seed(0)
        quiet = logging.root.manager.disable
        logging.disable(logging.CRITICAL)  # exporters log what they then raise
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                warnings.filterwarnings("error", message="capsroute")
                self.go(case(column))
        except Exception as error:
            sentence = self.refused.get(column)
            if sentence is not None and sentence in str(error):
                return f"{REFUSED}: {sentence}"
            (*_, where) = traceback.extract_tb(error.__traceback__)
            said = (str(error).strip() or repr(error)).splitlines()[0]
            return f"{FAILS}: {type(error).__name__} at {where.name}:{where.lineno}: {said}"
        finally:
            logging.disable(quiet)
        return WORKS if column not in self.refused else f"{FAILS}: nothing was raised"


DOORS: dict[str, Door] = {}


def door(
    name: str,
    package: str = "torch",
    *,
    quick: Collection[str] = tuple(COLUMNS),
    refused: Mapping[str, str] | None = None,
    apart: Mapping[str, str] | None = None,
) -> Callable[[Callable[[Case], None]], Callable[[Case], None]]:
    """Decorator that makes a function of a case a row of the table."""

    def register(go: Callable[[Case], None]) -> Callable[[Case], None]:
        DOORS[name] = Door(name, go, package, quick, refused or {}, apart or {})
        return go

    return register


def same(got: object, expected: object, rtol: float = 1e-4, atol: float = 1e-5) -> None:
    """All tensors of two outputs agree; those of float64 to nearly all of their digits."""
    ours, theirs = tensors(got), tensors(expected)
    assert theirs, "there is nothing to compare"
    assert len(ours) == len(theirs), f"{len(ours)} tensors, and {len(theirs)} are expected"
    for mine, right in zip(ours, theirs, strict=True):
        scale = float(right.detach().abs().max()) if right.is_floating_point() else 0.0
        if right.dtype == torch.float64:
            rtol, atol = 1e-8, 1e-10
        torch.testing.assert_close(mine, right, rtol=rtol, atol=atol * scale)


def total(output: object) -> Tensor:
    """A loss that every tensor with a derivative takes part in."""
    return torch.stack([t.square().sum() for t in tensors(output) if t.is_floating_point()]).sum()


def gradients(output: object, case: Case) -> list[Tensor]:
    """Of all parameters."""
    return list(torch.autograd.grad(total(output), list(case.module.parameters())))
