"""The folder that holds what a run finds, from the first finding on."""

from __future__ import annotations

from dataclasses import asdict

from capsroute.bench import files
from capsroute.training.paths import AnyPath, as_path

from . import plots, tables
from .record import Record


class Folder:
    """``gpu.json``, ``gpu.md`` and the figures in one folder.

    Args:
        path: The folder; it is made if it does not exist. Files of an earlier run in it are replaced.

    Raises:
        OSError: It cannot be made or written.
    """

    def __init__(self, path: AnyPath) -> None:
        path = as_path("path", path)
        path.mkdir(parents=True, exist_ok=True)
        self.path = path
        for name in ("gpu.json", "gpu.md"):
            files.check_writable(path / name)
        for name in plots.NAMES:
            (path / name).unlink(missing_ok=True)

    def write(self, record: Record) -> None:
        """Write all but the figures."""
        files.write_json(self.path / "gpu.json", asdict(record))
        files.replace(self.path / "gpu.md", tables.document(record))

    def draw(self, record: Record) -> None:
        """Draw the figures for which there is something to show."""
        plots.draw(self.path, record.rows)
