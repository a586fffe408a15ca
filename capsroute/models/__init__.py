"""Networks built from the capsule modules."""

from capsroute.models.capsnet import CapsNet, CapsNetOutput
from capsroute.models.presets import PRESETS

__all__ = ["PRESETS", "CapsNet", "CapsNetOutput"]
