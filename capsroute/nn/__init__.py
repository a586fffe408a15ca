"""Modules for capsule networks."""

from capsroute.nn.activations import CapsuleLengths, Squash, capsule_lengths, squash
from capsroute.nn.decoder import ReconstructionDecoder
from capsroute.nn.losses import MarginLoss, margin_loss
from capsroute.nn.primary import PrimaryCapsules
from capsroute.nn.routing import CapsuleLayer, set_routing

__all__ = [
    "CapsuleLayer",
    "CapsuleLengths",
    "MarginLoss",
    "PrimaryCapsules",
    "ReconstructionDecoder",
    "Squash",
    "capsule_lengths",
    "margin_loss",
    "set_routing",
    "squash",
]
