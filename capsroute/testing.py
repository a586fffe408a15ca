"""For tests and comparisons: force a backend, an instruction set or a CUDA kernel, and set the emulated device."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

from . import _native
from .routing import backends, core
from .routing.values import flag, whole


def backend(name: str) -> AbstractContextManager[None]:
    """Context in which calls of this thread take backend ``name``.

    The backward of a call takes the backend of its forward, from any thread. What torch.compile has traced keeps the
    backend that was forced then.

    Args:
        name: ``"reference"`` (plain PyTorch), ``"cpu"``, ``"cuda"`` or ``"cuda_emulated"``.

    Raises:
        TypeError: ``name`` is no string.
        ValueError: ``name`` is unknown. A call in the context raises it for a device without such a kernel.
    """
    return backends.force(name)


def cuda_kernel(kernel: str = "automatic", fusion: str = "automatic") -> AbstractContextManager[None]:
    """Context in which the CUDA calls of this thread, emulated or not, take a certain kernel.

    The backward of a call takes the kernel and the fusion of its forward, from any thread. What torch.compile has
    traced keeps those that were forced then.

    Args:
        kernel: ``"plain"`` (takes any size), ``"fused"`` (tensor cores) or ``"automatic"``.
        fusion: How the fused kernel gets from one pass to the next: ``"grid"`` (all blocks meet), ``"cluster"`` (the
            blocks of a cluster meet), ``"launches"`` (a launch for each phase) or ``"automatic"``.

    Raises:
        TypeError: An argument is no string.
        ValueError: An argument is unknown. A call in the context raises RuntimeError where that kernel cannot run.
    """
    return backends.force_cuda_kernel(kernel, fusion)


@contextmanager
def cuda_division(*, tiles: int = 0, last_outputs: int = 0, last_warps: int = 0) -> Iterator[None]:
    """Context in which the fused CUDA kernels of all threads, emulated or not, divide their work in a certain way.

    Forward and backward of one call must run under the same division. A problem that cannot be divided so takes the
    plain kernel, and is an error where the fused one is forced.

    Args:
        tiles: How many tiles of 16 samples a block of the passes takes: 1, 2, 4 or 8.
        last_outputs: The weights of how many outputs a warp of backward's last pass holds in shared memory at once; all
            where there are fewer.
        last_warps: How many warps of the last pass there should be for each multiprocessor. They divide the samples, as
            far as memory for parts of the weight's gradient allows.

    For each, 0 is what the model of the kernels has.

    Raises:
        TypeError: A figure is no int.
        ValueError: A figure is out of its range.
    """
    tiles = whole("tiles", tiles, least=0)
    last_outputs = whole("last_outputs", last_outputs, least=0)
    last_warps = whole("last_warps", last_warps, least=0)
    if tiles not in (0, 1, 2, 4, 8):
        raise ValueError(f"tiles must be 1, 2, 4, 8, or 0 for the choice of the model, got {tiles}")
    modules = [_native, *([core.emulated()] if core.emulation_missing() is None else [])]
    before = [module.cuda_division() for module in modules]
    try:
        for module in modules:
            module.choose_cuda_division(tiles, last_outputs, last_warps)
        yield
    finally:
        for module, division in zip(modules, before, strict=True):
            module.choose_cuda_division(*division)


@contextmanager
def emulated_device(
    *,
    architecture: int = 90,
    multiprocessors: int = 3,
    order: str = "forward",
    seed: int = 0,
    check_races: bool = True,
) -> Iterator[None]:
    """Context in which the emulated CUDA device of backend ``"cuda_emulated"`` is this one, for all threads.

    Args:
        architecture: 75, 80, 86, 89, 90, 100 or 120; with its limits.
        multiprocessors: 1 to 16.
        order: Which of the threads that can go on goes on: the first (``"forward"``), the last (``"reverse"``) or any
            (``"shuffled"``).
        seed: Of the shuffled order.
        check_races: Report accesses to shared memory that no barrier orders.

    Raises:
        ImportError: The emulation was not built.
        ValueError: A value is out of range.
    """
    device = core.emulated()
    before = device.settings()
    device.configure(
        whole("architecture", architecture),
        whole("multiprocessors", multiprocessors),
        order,
        whole("seed", seed, least=0),
        flag("check_races", check_races),
    )
    try:
        yield
    finally:
        device.configure(**before)


def usable_cpu_isas() -> list[str]:
    """The instruction sets that are built and that this CPU runs, from the plainest to the widest."""
    return _native.usable_cpu_isas()


@contextmanager
def cpu_isa(name: str) -> Iterator[None]:
    """Context in which the CPU kernels of all threads use instruction set ``name``.

    Raises:
        TypeError: ``name`` is no string.
        ValueError: ``name`` is not built or this CPU does not run it.
    """
    _check_is_name("instruction set", name)
    before = _native.cpu_isa()
    _native.choose_cpu_isa(name)
    try:
        yield
    finally:
        _native.choose_cpu_isa(before)


@contextmanager
def cpu_votes(name: str) -> Iterator[None]:
    """Context in which the CPU kernels of all threads get at their votes in one way, wherever a problem can.

    Forward and backward of one call must run under the same name.

    Args:
        name: ``"made"`` (in every pass again), ``"tile"`` (kept in the cache of a core), ``"wave"`` (kept in the caches
            of all cores, input capsules in the lanes) or ``"automatic"``.

    Raises:
        TypeError: ``name`` is no string.
        ValueError: ``name`` is unknown.
    """
    _check_is_name("votes", name)
    before = _native.cpu_votes()
    _native.choose_cpu_votes(name)
    try:
        yield
    finally:
        _native.choose_cpu_votes(before)


def _check_is_name(argument: str, name: object) -> None:
    """The compiled module refuses an unknown name in a sentence, but anything else only with its own signature."""
    if not isinstance(name, str):
        raise TypeError(f"{argument} must be given by name, as a str, got {type(name).__name__}")
