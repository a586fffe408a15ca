"""The CUDA kernels compiled for the CPU, and the device that runs them. See csrc/emulation/bindings.cpp."""

from typing import TypedDict

# Classes of its own with the same methods.
from ._native import RoutingBackward as RoutingBackward
from ._native import RoutingProblem as RoutingProblem

class Settings(TypedDict):
    architecture: int
    multiprocessors: int
    order: str
    seed: int
    check_races: bool

class Counters(TypedDict):
    launches: int
    faults: int
    threads: int
    barriers: int
    warp_operations: int
    mma: int

def cuda_archs() -> list[int]: ...
def cuda_unusable(device: int) -> str: ...
def configure(architecture: int, multiprocessors: int, order: str, seed: int, check_races: bool) -> None: ...
def break_rule(at_launch: bool) -> None: ...
def settings() -> Settings: ...
def counters() -> Counters: ...
