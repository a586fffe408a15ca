"""Tests of the benchmark for a GPU, on a stand-in for one."""
