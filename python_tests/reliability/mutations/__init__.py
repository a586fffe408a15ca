"""Mutations: small faults drawn by a seed, to see which of them a suite of tests notices."""
