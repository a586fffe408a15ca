"""Networks built from the capsule modules."""

from capsroute.models.capsnet import CapsNet, CapsNetOutput
from capsroute.models.mind import MIND, MINDOutput
from capsroute.models.presets import PRESETS

__all__ = ["MIND", "PRESETS", "CapsNet", "CapsNetOutput", "MINDOutput"]
