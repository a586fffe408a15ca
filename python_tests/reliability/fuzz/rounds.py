"""Rounds of drawn calls, each from a seed of its own: what a process of the long run, and the test, does."""

from __future__ import annotations

import os
import traceback
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as seeded
from hypothesis.errors import Flaky

from . import bad, check, strategies
from .call import Call
from .kernels import EmulatedKernel

# Of the calls in a round, so many beside them are wrong ones.
WRONG_SHARE = 4
DRAWING = "drawing-"  # begins the names of the files that say what each process is about to do


@dataclass
class Tally:
    """What rounds have tried and found."""

    counts: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))  # of calls, by heading
    failures: list[str] = field(default_factory=list)  # each with the smallest call that shows it

    def merge(self, other: Tally) -> None:
        """Add what another has counted."""
        for heading, counter in other.counts.items():
            self.counts[heading].update(counter)
        self.failures += other.failures

    def total(self, heading: str) -> int:
        """Calls under a heading."""
        return sum(self.counts[heading].values())


def count(tally: Tally, call: Call, outcome: str) -> None:
    """Add one right call under every heading."""
    case, kernel = call.case, call.kernel
    headings = {
        "outcome": outcome,
        "backend": kernel.backend,
        "kernel": kernel,
        **({"emulated device": f"sm_{kernel.architecture}"} if isinstance(kernel, EmulatedKernel) else {}),
        "dtype": str(call.dtype).removeprefix("torch."),
        "function": call.entry,
        "passes": "forward and backward" if call.differentiable else "forward alone",
        "softmax": "coupling given" if case.given else case.softmax,
        **{name: getattr(case, name) for name in ("gradient", "squash", "iterations", "logits")},
        "weights": "one" if case.weights == 1 else "own" if case.weights == case.sizes[1] else "shared",
        "values": call.values,
        **{name: getattr(case, name) for name in ("bias", "input_weight", "input_mask", "output_mask")},
        "empty batch": case.sizes[0] == 0,
        "several output axes": bool(call.axes),
        "autocast": call.autocast,
        "details": bool(call.details),
        "unusual strides": bool(call.layouts),
        "NaN in absent inputs": call.poisoned and case.input_mask,
        "replaced logits": case.logit_update == "replace",
        "temperatures": case.temperature != "one",
        "agreement factor": case.agreement_factor != 1,
    }
    for heading, what in headings.items():
        tally.counts[heading][str(what)] += 1


def run(examples: int, seed: int | None, remember: Callable[[object], None] = lambda call: None) -> Tally:
    """One round of so many right calls, and wrong ones beside them; without a seed the draws never change.

    Each call is given to ``remember`` before it is made, in case that it ends the process.
    """
    torch.set_num_threads(1)
    tally = Tally()

    def right_call(call: Call) -> None:
        remember(call)
        count(tally, call, check.check(call))

    def wrong_call(wrong: bad.Wrong) -> None:
        remember(wrong)
        bad.check(wrong)
        tally.counts["wrong calls"][wrong.backend] += 1

    _draw(right_call, strategies.calls(), examples, seed, tally)
    _draw(wrong_call, bad.wrong_calls(), max(examples // WRONG_SHARE, 1), seed, tally)
    return tally


def run_telling(examples: int, seed: int, folder: str) -> Tally:
    """A round in a process of its own, which leaves word in the folder of what it is about to do."""
    path = Path(folder) / f"{DRAWING}{os.getpid()}"
    return run(examples, seed, lambda call: path.write_text(repr(call), encoding="utf-8"))


def _draw(test: Callable[[Any], None], strategy: Any, examples: int, seed: int | None, tally: Tally) -> None:
    """Run a test on draws; its first failure, made as small as can be, is kept and ends the draws."""
    last: list[object] = []

    def remembering(drawn: Any) -> None:
        last[:] = [drawn]
        test(drawn)

    configured = settings(
        max_examples=examples,
        database=None,
        deadline=None,
        derandomize=seed is None,
        phases=(Phase.generate, Phase.shrink),
        print_blob=False,
        suppress_health_check=list(HealthCheck),
    )(given(strategy)(remembering))
    try:
        (configured if seed is None else seeded(seed)(configured))()
    except Exception as error:
        flaky = "not the same twice: " if isinstance(error, Flaky) else ""
        tally.failures.append(f"{flaky}{last[0]}\n{traceback.format_exc()}")
