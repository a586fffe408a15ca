"""The run as ``capsroute bench gpu`` does it: on a CUDA device, and never longer than it was told."""

from __future__ import annotations

import contextlib
import faulthandler
from collections.abc import Callable, Iterator

import torch

import capsroute
from capsroute import testing

from .device import Device
from .folder import Folder
from .plan import Plan
from .session import Session

_GRACE = 60.0  # seconds beyond the budget; nothing that is begun within it takes so long


class UnusableError(Exception):
    """There is nothing to measure here; the message is one sentence."""


def open_device() -> Device:
    """The CUDA device to measure.

    Raises:
        UnusableError: There is none, or this build has no kernels for it.
    """
    if not torch.cuda.is_available():
        raise UnusableError("bench gpu needs a CUDA device that torch can use, and torch finds none here")
    device = Device()
    tiny = torch.zeros(1, 1, 1, device=device.place)
    try:
        with testing.backend(device.backend):
            capsroute.explain(tiny, tiny[None])
    except (ValueError, RuntimeError) as error:
        raise UnusableError(str(error)) from error
    return device


@contextlib.contextmanager
def deadline(seconds: float) -> Iterator[None]:
    """Context that ends the process, and shows where it was, if it is still inside after so many seconds.

    Blocks of a kernel that wait for each other in vain would otherwise hold the machine for ever; Python itself cannot
    interrupt that wait.
    """
    standard_error = 2  # by its descriptor, as what stands in sys.stderr may have none
    faulthandler.dump_traceback_later(seconds, exit=True, file=standard_error)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()


def execute(plan: Plan, folder: Folder, tell: Callable[[str], None], device: Device) -> bool:
    """Run a plan, with all findings in the folder.

    Returns:
        Whether all results were right.
    """
    with deadline(plan.seconds + _GRACE):
        record = Session(plan, device, folder, tell).run()
    for fault in record.faults:
        tell(fault)
    for note in record.notes:
        tell(note)
    return record.sound
