"""Hyper-parameters of :class:`~capsroute.models.CapsNet` for known image sizes."""

from typing import Any

__all__ = ["PRESETS"]

# Where a preset is silent, the defaults of CapsNet (those of the paper) hold.
PRESETS: dict[str, dict[str, Any]] = {
    # Sabour et al. 2017 on 28x28 images: 1,152 input capsules and 8.2 million parameters.
    "mnist": {},
    # The same network for 8x8 images: a 9x9 kernel would see more border than image.
    "digits": {
        "image_size": 8,
        "conv_channels": 64,
        "conv_kernel": 3,
        "conv_padding": 1,
        "primary_types": 8,
        "primary_kernel": 3,
        "primary_stride": 2,
        "primary_padding": 1,
        "decoder_sizes": (128, 256),
    },
}
