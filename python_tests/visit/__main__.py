"""``python -m python_tests.visit``."""

from __future__ import annotations

from .command import main

raise SystemExit(main())
