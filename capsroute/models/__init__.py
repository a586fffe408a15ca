"""Networks built from the capsule modules."""

from capsroute.models.capsnet import CapsNet, CapsNetOutput
from capsroute.models.deepcaps import DeepCaps
from capsroute.models.mind import MIND, MINDOutput
from capsroute.models.pooling_cnn import PoolingCNN, PoolingCNNOutput
from capsroute.models.presets import POOLING_PRESETS, PRESETS, compact_options
from capsroute.models.resnet import ResNetCapsules
from capsroute.models.segcaps import SegCaps, SegCapsOutput

__all__ = [
    "MIND",
    "POOLING_PRESETS",
    "PRESETS",
    "CapsNet",
    "CapsNetOutput",
    "DeepCaps",
    "MINDOutput",
    "PoolingCNN",
    "PoolingCNNOutput",
    "ResNetCapsules",
    "SegCaps",
    "SegCapsOutput",
    "compact_options",
]
