"""Does pieces for as long as there is time, and judges them."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ..gpu import sanitize
from .outcomes import TestRecord
from .pieces import Piece, program
from .record import State, VisitRecord

ROOT = Path(__file__).resolve().parents[2]
GRACE = 45.0  # seconds between the time that a process is told and its being killed
_TRIES = 3  # calls of a piece that end without having come any further, and tests that end their process


class Visit:
    """One call.

    Args:
        record: What earlier calls found.
        seconds: How much time there is.
        tell: Called with lines for whoever watches.
        environment: Variables of the processes.
        clock: Seconds that only grow.
    """

    def __init__(
        self,
        record: VisitRecord,
        seconds: float,
        tell: Callable[[str], None],
        environment: Mapping[str, str],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.record, self.tell, self.environment, self._clock = record, tell, environment, clock
        self._end = clock() + seconds
        self._lock = threading.Lock()

    def left(self) -> float:
        """Seconds."""
        return self._end - self._clock()

    def run(self, wanted: Sequence[Piece]) -> None:
        """Do what is open, in order; a piece for which too little time is left waits for the next call."""
        for _, side_by_side in itertools.groupby(wanted, key=lambda piece: piece.group or piece.name):
            group = list(side_by_side)
            for piece in group:
                self.record.pieces.setdefault(piece.name, State())
            with ThreadPoolExecutor(len(group)) as threads:
                list(threads.map(self._do, group))
        self._write()

    def _do(self, piece: Piece) -> None:
        state = self.record.pieces[piece.name]
        if piece.needs is not None and state.verdict == "open" and program(piece.needs) is None:
            state.verdict, state.note = "left out", f"{piece.needs} was not found; it comes with the CUDA toolkit"
        while state.verdict == "open" and self.left() >= piece.least:
            self._call(piece, state)
            self._write()
        self.tell(f"{piece.name}: {state.verdict}{', ' + state.note if state.note else ''}")

    def _write(self) -> None:
        with self._lock:
            self.record.write()

    def _call(self, piece: Piece, state: State) -> None:
        seconds = min(self.left(), piece.most)
        tests = TestRecord(self.record.folder / f"{piece.name}.jsonl")
        known = len(tests.outcomes())
        self.tell(f"== {piece.name}: {piece.about}; at most {seconds:.0f} s")
        started = self._clock()
        status = self._process(piece, max(seconds - GRACE, 10.0), seconds)
        state.calls += 1
        state.seconds = round(state.seconds + self._clock() - started, 1)
        if piece.tests:
            self._judge_tests(state, tests, status, advanced=len(tests.outcomes()) > known)
        elif status == 0:
            state.verdict, state.note = "right", ""
        else:
            state.verdict, state.note = "wrong", f"status {status}, see {piece.name}.log"

    def _judge_tests(self, state: State, tests: TestRecord, status: int, advanced: bool) -> None:
        counts, failures, deaths = tests.counts(), tests.failures(), tests.deaths()
        state.note = ", ".join(f"{count} {outcome}" for outcome, count in sorted(counts.items())) or "no test yet"
        found = status == sanitize.STATUS
        if found:
            state.note += "; the sanitizer found something, see the log"
        if found or (tests.complete() and failures):
            state.verdict = "wrong"
        elif tests.complete():
            state.verdict = "right" if counts.get("passed") else "wrong"  # no test is no proof
        elif len(deaths) >= _TRIES:
            state.verdict = "wrong"
            state.note += f"; given up after {deaths[-1]}, the last of {len(deaths)} that ended their process"
        elif not advanced and state.calls >= _TRIES:
            state.verdict, state.note = "wrong", f"status {status} without getting any further, see the log"

    def _process(self, piece: Piece, told: float, seconds: float) -> int:
        """Run a piece with its output in a log; its status, or that of ``timeout`` if it had to be killed."""
        with (self.record.folder / f"{piece.name}.log").open("ab") as log:
            process = subprocess.Popen(
                piece.command(told),
                cwd=ROOT,
                env={**self.environment, **piece.environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # so that its own children end with it
            )
            try:
                return process.wait(timeout=seconds)
            except subprocess.TimeoutExpired:
                return 124
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
