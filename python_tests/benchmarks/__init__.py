"""Timings by pytest-benchmark. They are no tests: run them by naming the folder, as ``make bench`` does."""
