"""Networks built from the capsule modules."""

from capsroute.models.capsnet import CapsNet, CapsNetOutput
from capsroute.models.deepcaps import DeepCaps
from capsroute.models.mind import MIND, MINDOutput
from capsroute.models.presets import PRESETS
from capsroute.models.resnet import ResNetCapsules
from capsroute.models.segcaps import SegCaps, SegCapsOutput

__all__ = [
    "MIND",
    "PRESETS",
    "CapsNet",
    "CapsNetOutput",
    "DeepCaps",
    "MINDOutput",
    "ResNetCapsules",
    "SegCaps",
    "SegCapsOutput",
]
