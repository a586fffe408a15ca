"""What capsule networks promise, each claim as an experiment that anyone can run.

An experiment trains networks for several seeds, writes what it measured as JSON, and draws a figure of it.
"""

from capsroute.experiments.table import EXPERIMENTS, load

__all__ = ["EXPERIMENTS", "load"]
