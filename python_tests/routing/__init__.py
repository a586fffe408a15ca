"""Tests of the routing op: reference, functional, ops, kernels."""
