"""The table: every implementation that the options can express."""

from __future__ import annotations

from . import rows_conv, rows_dense, rows_interests

ROWS = [*rows_dense.ROWS, *rows_conv.ROWS, *rows_interests.ROWS]
