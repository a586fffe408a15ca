"""Modules for capsule networks."""

from capsroute.nn.activations import CapsuleLengths, Squash, capsule_lengths, squash
from capsroute.nn.conv import ConvCapsules1d, ConvCapsules2d, ConvCapsules3d
from capsroute.nn.conv_transpose import ConvTransposeCapsules1d, ConvTransposeCapsules2d, ConvTransposeCapsules3d
from capsroute.nn.decoder import ReconstructionDecoder
from capsroute.nn.interest import InterestCapsules
from capsroute.nn.interest_counts import interest_counts, interest_mask
from capsroute.nn.label_attention import LabelAwareAttention
from capsroute.nn.losses import MarginLoss, margin_loss
from capsroute.nn.primary import PrimaryCapsules, primary_poses
from capsroute.nn.routing import CapsuleLayer, set_routing

__all__ = [
    "CapsuleLayer",
    "CapsuleLengths",
    "ConvCapsules1d",
    "ConvCapsules2d",
    "ConvCapsules3d",
    "ConvTransposeCapsules1d",
    "ConvTransposeCapsules2d",
    "ConvTransposeCapsules3d",
    "InterestCapsules",
    "LabelAwareAttention",
    "MarginLoss",
    "PrimaryCapsules",
    "ReconstructionDecoder",
    "Squash",
    "capsule_lengths",
    "interest_counts",
    "interest_mask",
    "margin_loss",
    "primary_poses",
    "set_routing",
    "squash",
]
