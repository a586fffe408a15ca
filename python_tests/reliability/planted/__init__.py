"""Faults that are planted in the sources, to see that the tests and the sanitizers notice them."""
