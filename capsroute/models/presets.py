"""Hyper-parameters of :class:`~capsroute.models.CapsNet` and of the network beside it, by what they are meant for."""

from typing import Any

__all__ = ["POOLING_PRESETS", "PRESETS"]

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
    # For 28x28 images where a processor has to train several networks in minutes: the kernels of the paper, a quarter
    # of its channels, 288 input capsules, 0.7 million parameters and 0.6 million of the decoder. One thread of the
    # processor in docs/results/cpu takes 0.09 s for a training step of 64 images, 14 s for 10,000 images.
    "small": {"conv_channels": 64, "primary_types": 8, "decoder_sizes": (256, 512)},
    # As "small" in what a primary capsule sees, and where: 17x17 pixels, at every second pixel. The stride is in the
    # first convolution, 0.5 million parameters are left, and such a step takes 0.04 s.
    "quick": {
        "conv_channels": 64,
        "conv_stride": 2,
        "primary_types": 8,
        "primary_kernel": 5,
        "primary_stride": 1,
        "decoder_sizes": (256, 512),
    },
    # For 40x40 images, in which a digit of 28x28 moves by up to 6 pixels and stays whole: as "quick", with a primary
    # capsule at every fourth pixel.
    "translated": {
        "image_size": 40,
        "conv_channels": 64,
        "conv_stride": 2,
        "primary_types": 8,
        "primary_kernel": 5,
        "decoder_sizes": (256, 512),
    },
}

# :class:`~capsroute.models.PoolingCNN` with as many parameters, within 10 %, as the CapsNet of the same name, neither
# with its decoder: the widths that PoolingCNN.matching finds.
POOLING_PRESETS: dict[str, dict[str, Any]] = {
    "mnist": {"channels": (82, 164, 328), "hidden": (946, 160)},
    "digits": {
        "image_size": 8,
        "channels": (52, 104),
        "kernel": 3,
        "hidden": (261, 160),
        "decoder_sizes": (128, 256),
    },
    "small": {"channels": (26, 52, 104), "hidden": (293, 160), "decoder_sizes": (256, 512)},
    "quick": {"channels": (21, 42, 84), "hidden": (242, 160), "decoder_sizes": (256, 512)},
    "translated": {
        "image_size": 40,
        "channels": (21, 42, 84),
        "hidden": (161, 160),
        "decoder_sizes": (256, 512),
    },
}
