"""Does pieces for as long as there is time, and judges them."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from ..gpu import sanitize
from .pieces import Piece, program
from .record import State, TestRecord, VisitRecord

ROOT = Path(__file__).resolve().parents[2]
GRACE = 45.0  # seconds between the time that a process is told and its being killed
_TRIES = 3  # calls of a piece that end without having come any further


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

    def left(self) -> float:
        """Seconds."""
        return self._end - self._clock()

    def run(self, wanted: Sequence[Piece]) -> None:
        """Do what is open, in order; a piece for which too little time is left waits for the next call."""
        for piece in wanted:
            state = self.record.pieces.setdefault(piece.name, State())
            if piece.needs is not None and state.verdict == "open" and program(piece.needs) is None:
                state.verdict, state.note = "left out", f"{piece.needs} was not found; it comes with the CUDA toolkit"
            while state.verdict == "open" and self.left() >= piece.least:
                self._call(piece, state)
                self.record.write()
            self.tell(f"{piece.name}: {state.verdict}{', ' + state.note if state.note else ''}")
        self.record.write()

    def _call(self, piece: Piece, state: State) -> None:
        seconds = min(self.left(), piece.most)
        tests = TestRecord(self.record.folder / f"{piece.name}.jsonl")
        known = len(tests.outcomes())
        self.tell(f"== {piece.name}: {piece.about}; at most {seconds:.0f} s")
        started = self._clock()
        status = self._process(piece.command(max(seconds - GRACE, 10.0)), piece.name, seconds)
        state.calls += 1
        state.seconds = round(state.seconds + self._clock() - started, 1)
        if piece.tests:
            self._judge_tests(state, tests, status, advanced=len(tests.outcomes()) > known)
        elif status == 0:
            state.verdict, state.note = "right", ""
        else:
            state.verdict, state.note = "wrong", f"status {status}, see {piece.name}.log"

    def _judge_tests(self, state: State, tests: TestRecord, status: int, advanced: bool) -> None:
        counts, failures = tests.counts(), tests.failures()
        state.note = ", ".join(f"{count} {outcome}" for outcome, count in sorted(counts.items())) or "no test yet"
        found = status == sanitize.STATUS
        if found:
            state.note += "; the sanitizer found something, see the log"
        if found or (tests.complete() and failures):
            state.verdict = "wrong"
        elif tests.complete():
            state.verdict = "right" if counts.get("passed") else "wrong"  # no test is no proof
        elif not advanced and state.calls >= _TRIES:
            state.verdict, state.note = "wrong", f"status {status} without getting any further, see the log"

    def _process(self, command: Sequence[str], name: str, seconds: float) -> int:
        """Run a command with its output in a log; its status, or that of ``timeout`` if it had to be killed."""
        with (self.record.folder / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                command,
                cwd=ROOT,
                env=self.environment,
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
