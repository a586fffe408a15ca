"""The list of what is done, in order: what is right comes before what is fast."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from capsroute.bench import shapes

from ..gpu import sanitize

# What docs/kernels.md explains: the time of each beside its floor, and where it goes.
EXPLAINED = ("mnist", "emnist-letters", "deepcaps", "recommender-50")
# As many shapes as fit into a call with torch.compile; each group measures the limits of the device again.
_GROUPS = 4
_PARTS = 4  # of the tests of routing
# Kernels that a sanitizer patches, networks that are compiled, tensors beyond 2^31 elements.
_SLOW = ("--visit-test-seconds", "300")
_SECTIONS = (
    "SpeedOfLight",
    "ComputeWorkloadAnalysis",
    "MemoryWorkloadAnalysis",
    "WarpStateStats",
    "LaunchStats",
    "Occupancy",
)
_TOOLKIT = "/usr/local/cuda/bin"


@dataclass(frozen=True)
class Piece:
    """Something to do by one command.

    Attributes:
        name: On the command line, and of its files.
        about: A few words.
        command: From the seconds that it may take to what is run.
        tests: Whether it runs pytest with :mod:`.resume`, and so can go on in a later call.
        least: Seconds below which it is not begun.
        most: Seconds that it never needs more of.
        needs: A program that must be there.
        environment: Variables of its process beside those that all have.
        group: Pieces of one group, one after the other in the list, run side by side; with none, a piece runs alone.
    """

    name: str
    about: str
    command: Callable[[float], list[str]]
    tests: bool = False
    least: float = 30.0
    most: float = 480.0
    needs: str | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    group: str | None = None


def program(name: str) -> str | None:
    """Where a program of the CUDA toolkit is."""
    return shutil.which(name) or shutil.which(name, path=_TOOLKIT)


def pieces(out: Path, data: Path | None, rehearse: bool) -> list[Piece]:
    """All pieces.

    Args:
        out: Folder of the findings.
        data: Folder of MNIST's files, to train on; digits otherwise.
        rehearse: On the emulated device, with little of each.
    """
    return [
        _build(rehearse),
        *_tests(out, rehearse),
        *_sanitized(out, rehearse),
        _module("twins", "the hardware beside its emulation", out / "twins", rehearse, least=240.0),
        *_benchmarks(out, rehearse),
        _module("divisions", "times of all divisions", out / "divisions", rehearse, least=420.0, budget=True),
        *_profiles(out, rehearse),
        _training(out, data, rehearse),
    ]


def _python(*arguments: str) -> list[str]:
    return [sys.executable, *arguments]


def _build(rehearse: bool) -> Piece:
    if rehearse:
        return Piece("build", "what was built", lambda _: _python("-m", "capsroute", "info"))
    build = _python("setup.py", "-q", "build_ext", "--inplace")
    return Piece("build", "compile for this GPU, and the emulation", lambda _: build, least=120.0)


def _module(name: str, about: str, out: Path, rehearse: bool, least: float = 30.0, budget: bool = False) -> Piece:
    """A module of this folder with the options that all of them have."""
    run = ["-m", f"python_tests.visit.{name}", "--out", str(out), *(["--rehearse"] if rehearse else [])]

    def command(seconds: float) -> list[str]:
        return _python(*run, *(["--seconds", f"{seconds - 15:.0f}"] if budget else []))

    return Piece(name, about, command, least=30.0 if rehearse else least)


def _pytest(out: Path, name: str, *chosen: str) -> Callable[[float], list[str]]:
    plugin = ("-p", "python_tests.visit.resume", "--visit-record", str(out / f"{name}.jsonl"), "--visit-seconds")
    quiet = ("-q", "--no-header", "--tb=short", "-p", "no:cacheprovider", "--continue-on-collection-errors")
    return lambda seconds: _python("-m", "pytest", *plugin, f"{seconds:.0f}", *quiet, *chosen)


def _tests(out: Path, rehearse: bool) -> list[Piece]:
    few = ("python_tests/routing/test_cases.py", *sanitize.ON_CUDA, "-k", "leaky")
    all_of_them = ("python_tests/routing", *sanitize.ON_CUDA)
    environment = {"CAPSROUTE_KERNELS": "cuda_emulated" if rehearse else "cuda"}
    # The device is hardly busy with them: what takes time is the reference, launch by launch.
    parts = 2 if rehearse else _PARTS
    routing = [
        Piece(
            f"routing-{part}",
            f"tests of routing, part {part} of {parts}",
            _pytest(out, f"routing-{part}", "--visit-part", f"{part}/{parts}", *(few if rehearse else all_of_them)),
            tests=True,
            group="routing",
            environment=environment,
        )
        for part in range(1, parts + 1)
    ]
    if rehearse:
        return routing
    others = ("python_tests", "--ignore=python_tests/routing", "--ignore=python_tests/gpu", *all_of_them[1:])
    return [
        *routing,
        Piece("gpu", "tests that need a GPU", _pytest(out, "gpu", *_SLOW, "python_tests/gpu"), tests=True),
        Piece(
            "others",
            "all other tests with CUDA kernels",
            _pytest(out, "others", *others),
            tests=True,
            environment=environment,
        ),
    ]


def _sanitized(out: Path, rehearse: bool) -> list[Piece]:
    """Small tests under each tool of compute-sanitizer; in a rehearsal the same tests without it."""
    found = []
    for tool in sanitize.TOOLS[: 1 if rehearse else None]:
        tests = (
            ("python_tests/routing/test_absent.py", *sanitize.ON_CUDA)
            if rehearse
            else (*sanitize.TESTS, *sanitize.ON_CUDA)
        )
        run = _pytest(out, tool, *_SLOW, *tests)
        prefix = [] if rehearse else sanitize.prefix(program(sanitize.NAME) or sanitize.NAME, tool)
        found.append(
            Piece(
                tool,
                f"small tests under {tool}",
                lambda seconds, prefix=prefix, run=run: [*prefix, *run(seconds)],
                tests=True,
                needs=None if rehearse else sanitize.NAME,
                environment={**sanitize.ENVIRONMENT, **({"CAPSROUTE_KERNELS": "cuda_emulated"} if rehearse else {})},
                group="sanitizers",
            )
        )
    return found


def _benchmarks(out: Path, rehearse: bool) -> list[Piece]:
    if rehearse:
        run = ("-m", "python_tests.visit.rehearsed_bench", "--out", str(out / "bench-1"))
        return [Piece("bench-1", "correctness and times of small shapes", lambda _: _python(*run))]
    names = [shape.name for shape in shapes.SHAPES]
    groups = [names[start::_GROUPS] for start in range(_GROUPS)]
    found = [_bench(out, f"bench-{number}", group) for number, group in enumerate(groups, start=1)]
    return [*found, _bench(out, "bench-autotune", EXPLAINED[:2], "--max-autotune", "--precisions", "float32")]


def _bench(out: Path, name: str, of: Sequence[str], *options: str) -> Piece:
    bench = ("-m", "capsroute", "bench", "gpu", "--out", str(out / name), "--shapes", ",".join(of), *options)
    return Piece(
        name,
        f"correctness and times of {', '.join(of)}",
        lambda seconds: _python(*bench, "--budget", f"{seconds - 15:.0f}"),  # it ends itself a minute later
        least=420.0,
    )


def _profiles(out: Path, rehearse: bool) -> list[Piece]:
    if rehearse:
        run = _python("-m", "python_tests.visit.profiled", "--backend", "cuda_emulated", "--shrink", "16", "mnist")
        return [Piece("ncu-mnist", "the calls to profile", lambda _: run)]
    found = []
    for shape in EXPLAINED:
        for precision in ("float32", "bfloat16"):
            name = f"ncu-{shape}-{precision}"
            run = _python("-m", "python_tests.visit.profiled", "--precision", precision, shape)
            command = [*_profiler(out / f"{name}.csv"), *run]
            about = f"counters of {shape} in {precision}"
            found.append(Piece(name, about, lambda _, command=command: command, least=60.0, most=240.0, needs="ncu"))
    return found


def _profiler(log: Path) -> list[str]:
    sections = [word for name in _SECTIONS for word in ("--section", name)]
    # The clocks are left as they are, for the machine may not be ours alone.
    plain = ["--clock-control", "none", "--profile-from-start", "off"]
    output = ["--csv", "--page", "details", "--print-details", "all", "--log-file", str(log)]
    return [program("ncu") or "ncu", *sections, *plain, *output]


def _training(out: Path, data: Path | None, rehearse: bool) -> Piece:
    run = ["-m", "python_tests.visit.training", "--out", str(out / "training")]
    run += ["--data-dir", str(data)] if data else []
    run += ["--device", "cpu"] if rehearse else []
    return Piece("training", "an epoch on the GPU beside the same on the CPU", lambda _: _python(*run), least=240.0)
