"""How each test ended, in a file that survives whatever ends the process. It needs neither torch nor capsroute."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path


class TestRecord:
    """A line of JSON for each beginning and each end of a test.

    Args:
        path: The file; it may not exist yet.
    """

    __test__ = False  # for pytest, which takes the name for that of a test

    def __init__(self, path: Path) -> None:
        self.path = path

    def add(self, test: str, outcome: str, text: str = "") -> None:
        """Write a line at once: the next moment may end the process."""
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"test": test, "outcome": outcome, **({"text": text} if text else {})}) + "\n")

    def close(self) -> None:
        """Note that all tests have ended."""
        self.add("", "all")

    def _lines(self) -> list[dict[str, str]]:
        if not self.path.exists():
            return []
        found = []
        for line in self.path.read_text(encoding="utf-8").splitlines():
            try:
                found.append(json.loads(line))
            except json.JSONDecodeError:  # the process ended while it wrote
                continue
        return found

    def outcomes(self) -> dict[str, str]:
        """By test that is done with: ``"passed"``, ``"skipped"``, ``"failed"``, or ``"died"`` with its process."""
        return {line["test"]: line["outcome"] for line in self._lines() if line["outcome"] not in ("began", "all")}

    def unfinished(self) -> list[str]:
        """Tests that began and did not end."""
        ended = self.outcomes()
        return [line["test"] for line in self._lines() if line["outcome"] == "began" and line["test"] not in ended]

    def complete(self) -> bool:
        """Whether a call came to the end of all tests."""
        return any(line["outcome"] == "all" for line in self._lines())

    def counts(self) -> dict[str, int]:
        """How many tests passed, failed and were skipped."""
        return dict(Counter(self.outcomes().values()))

    def failures(self) -> list[str]:
        """Names of the tests that failed, or died."""
        return [test for test, outcome in self.outcomes().items() if outcome in ("failed", "died")]

    def deaths(self) -> list[str]:
        """Names of the tests that took their process with them, the last one too, which no call has called dead yet."""
        return [*(test for test, outcome in self.outcomes().items() if outcome == "died"), *self.unfinished()]
