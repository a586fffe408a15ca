"""A run as a document of tables."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from capsroute.bench import peers
from capsroute.bench.contenders import OURS, fastest, ratio
from capsroute.bench.texts import Columns, markdown_table, number, significant, table

from . import variants
from .correctness import Check
from .plan import PASSES, PRECISIONS, passes_of
from .record import Record
from .timings import Contenders, Row, by_shape, failed

_LEGEND = (
    "Times are in µs. *eager* and *compile* are the faster one of two formulations in plain PyTorch, and the better "
    "one under `torch.compile`; *× eager* and *× compile* are how many times longer they take than capsroute. These "
    "times are of the device between two events, medians, caches cold, launches hidden. *graph replay* is a replay of "
    "capsroute's call in a CUDA graph, many in a row, caches warm; *host* is how long its Python call takes. *floor* "
    "is the larger of the times for compulsory traffic (b) and for the operations (o) at the limits above, *of floor* "
    "the share of capsroute's time that it is. *MiB* is peak memory beyond the results."
)


def document(record: Record) -> str:
    """The whole of ``gpu.md``."""
    lines = [f"# Routing on {record.environment['gpu']['name']}", "", *_about(record)]
    lines += _section("What went wrong", [f"- {fault}" for fault in _faults(record)])
    lines += _section("What was left out", [f"- {note}" for note in _left_out(record)])
    lines += _section("Correctness", _checks(record.checks))
    if record.rows:
        lines += ["", "## Times", "", _LEGEND]
    for gradient in PASSES:
        for precision in PRECISIONS:
            rows = [row for row in record.rows if (row.gradient, row.precision) == (gradient, precision)]
            marked = [check.shape for check in record.checks if (check.passed, check.precision) == (False, precision)]
            compared = [_Compared(contenders, marked) for contenders in by_shape(rows).values()]
            times = table(_COLUMNS, compared) if compared else []
            lines += _section(f"{passes_of(gradient).capitalize()}, {precision}", times, level=3)
    for precision in PRECISIONS:
        rows = [row for row in record.rows if row.gradient is None and row.precision == precision]
        lines += _section(f"Kernels of capsroute, forward, {precision}", _fusions(rows), level=3)
    return "\n".join(lines) + "\n"


def _about(record: Record) -> list[str]:
    about = record.environment
    gpu, build = about["gpu"], about["capsroute"]
    commit = f" at {about['commit'][:12]}{'+' * about['commit'].endswith('+')}" if about["commit"] else ""
    lines = [
        f"{about['date']}, {about['processor']}, driver {gpu.get('driver_version', 'unknown')}, torch {about['torch']} "
        f"(CUDA {gpu.get('cuda_of_torch')}), capsroute {build['version']}{commit}, built for "
        f"{', '.join(map(str, build['cuda_archs'])) or 'no CUDA device'}."
    ]
    limits = record.ceilings
    if limits is not None:
        rates = ", ".join(f"{name} {rate / 1e12:.1f}" for name, rate in limits.matrix.items())
        lines += [
            "",
            f"Measured limits: copy {limits.bandwidth / 1e9:.0f} GB/s; products in TFLOP/s: {rates}; from one empty "
            f"kernel to the next {limits.launch_seconds * 1e6:.1f} µs, its call {limits.host_seconds * 1e6:.1f} µs.",
        ]
    return lines if record.finished else [*lines, "", "This run has not come to its end."]


def _faults(record: Record) -> list[str]:
    checks = [
        f"{c.shape} (B = {c.samples}), {c.precision}, gradient {c.gradient}, kernel {c.variant}: {c.problem}"
        for c in record.checks
        if c.passed is False
    ]
    return [*record.faults, *checks, *(_problem(row) for row in record.rows if failed(row))]


def _left_out(record: Record) -> list[str]:
    peers = [row for row in record.rows if not row.contender.startswith(OURS)]
    return [*record.notes, *(_problem(row) for row in peers if row.problem is not None)]


def _problem(row: Row) -> str:
    return f"{row.shape}, {row.precision}, {passes_of(row.gradient)}, {row.contender}: {row.problem}"


def _checks(checks: Sequence[Check]) -> list[str]:
    """Per shape and precision: how many kernels passed, and the largest error in parts of what is allowed."""
    if not checks:
        return []
    shapes = dict.fromkeys(check.shape for check in checks)
    cells = []
    for shape in shapes:
        cells.append([shape])
        for precision in PRECISIONS:
            done = [c for c in checks if (c.shape, c.precision) == (shape, precision) and c.passed is not None]
            good = sum(c.passed is True for c in done)
            worst = max((value for c in done for value in c.excess.values()), default=0.0)
            said = "-" if not done else f"{good} of {len(done)}" + (" **WRONG**" if good < len(done) else "")
            cells[-1].append(f"{said}, {worst:.2f}" if done else said)
    text = (
        "Results within the rule, output and gradients of x and weight, with both gradients, by the kernel taken by "
        "itself, each fusion that takes the shape, and the plain kernel on a few samples; each twice, with the same "
        "bits. Then the largest error in parts of what is allowed."
    )
    return [text, "", *markdown_table(("shape", *PRECISIONS), cells)]


class _Compared:
    """The package on one shape beside the faster peers; a row without figures for who was not timed.

    Args:
        contenders: Those of one pass and precision.
        wrong: Shapes that are wrong in this precision, by any kernel; their names are marked.
    """

    def __init__(self, contenders: Contenders, wrong: Collection[str]) -> None:
        rows = contenders.values()
        none = replace(next(iter(rows)), contender="", figures=None)
        self.shape = none.shape + (" **WRONG**" if none.shape in wrong else "")
        self.ours = contenders.get(OURS, none)
        self.eager, self.compiled = (fastest(rows, family) or none for family in peers.FAMILIES)


_COLUMNS: Columns[_Compared] = {
    "shape": lambda compared: compared.shape,
    "B, I, d, J, D, T": lambda compared: compared.ours.sizes,
    "floor": lambda compared: f"{_micro(compared.ours.floor.seconds)} {compared.ours.floor.limit[0]}",
    "eager": lambda compared: _micro(compared.eager.seconds),
    "compile": lambda compared: _micro(compared.compiled.seconds),
    "capsroute": lambda compared: f"**{_micro(compared.ours.seconds)}**",
    "× eager": lambda compared: number(ratio(compared.eager, compared.ours), ".1f"),
    "× compile": lambda compared: number(ratio(compared.compiled, compared.ours), ".1f"),
    "of floor": lambda compared: number(compared.ours.floor_share, ".0%"),
    "graph replay": lambda compared: _micro(_figure(compared.ours, "replay_seconds")),
    "host": lambda compared: _micro(_figure(compared.ours, "host_seconds")),
    "MiB": lambda compared: number(_figure(compared.ours, "extra_bytes"), ".1f", 2**-20),
    "eager MiB": lambda compared: number(_figure(compared.eager, "extra_bytes"), ".1f", 2**-20),
}


def _figure(row: Row, name: str) -> float | None:
    return None if row.figures is None else getattr(row.figures, name)


def _fusions(rows: Sequence[Row]) -> list[str]:
    names = [variants.contender(variant) for variant in (variants.AUTOMATIC, *variants.FUSIONS)]
    cells = []
    for shape, contenders in by_shape(rows).items():
        found = [contenders.get(name) for name in names]
        if any(found):
            chosen = (found[0] and found[0].kernel) or "-"
            said = chosen.partition(" takes ")[2].rpartition(": ")[0] or chosen
            cells.append([shape, *(_micro(None if row is None else row.seconds) for row in found), said])
    head = ("shape", variants.AUTOMATIC, *variants.FUSIONS, "what it takes by itself")
    return ["Times in µs, as above.", "", *markdown_table(head, cells)] if cells else []


def _section(title: str, lines: list[str], level: int = 2) -> list[str]:
    return ["", f"{'#' * level} {title}", "", *lines] if lines else []


def _micro(seconds: float | None) -> str:
    return significant(seconds, 1e6)
