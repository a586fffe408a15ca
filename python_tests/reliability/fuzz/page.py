"""The tables of docs/reliability/fuzzing.md."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from capsroute.bench.texts import markdown_table

_SHOWN = ("backend", "dtype", "function", "passes", "softmax", "gradient", "squash", "iterations", "outcome")


def lines(calls: Mapping[str, Any], core: Mapping[str, Any], files: Mapping[str, Any]) -> list[str]:
    """What stands between the markers of the page, from the figures of the three commands."""
    head = (
        f"**Calls**: {calls['calls']:,} right ones and {calls['wrong calls']:,} wrong ones, {len(calls['failures'])} "
        f"failures ({_origin(calls)}, `{calls['arguments']}`)."
    )
    counted = [[heading, _counts(calls["counts"][heading])] for heading in _SHOWN]
    told = (
        f"**The core**: {core['executions']:,} inputs in {core['seconds']:,} seconds, of which the processor "
        f"gave it {core['processor seconds'] or 0:,.0f}, {core['crashes']} crashes; "
        f"{core['counters covered']:,} of {core['counters']:,} counters of edges reached, "
        f"{core['inputs kept']:,} inputs kept ({_origin(core)})."
    )
    failed = sum(row["failed"] for row in files["kinds"].values())
    read = (
        f"**Files**: {sum(row['files'] for row in files['kinds'].values()):,} damaged ones, {failed} failures; memory "
        f"grew by {files['memory MiB']:.0f} MiB ({_origin(files)}, `{files['arguments']}`)."
    )
    rows = [
        [name, f"{row['files']:,}", f"{row['refused']:,}", f"{row['read']:,}", f"{row['failed']:,}"]
        for name, row in files["kinds"].items()
    ]
    return [
        head,
        "",
        *markdown_table(["calls by", "how many of each"], counted),
        "",
        told,
        "",
        read,
        "",
        *markdown_table(["file", "damaged", "refused by a sentence", "read right", "failed"], rows),
    ]


def _origin(content: Mapping[str, Any]) -> str:
    return f"{content['environment']['date'][:10]}, commit {content['commit']}"


def _counts(counter: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in counter.items())
