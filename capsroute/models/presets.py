"""Hyper-parameters of :class:`~capsroute.models.CapsNet` and of the network beside it, by what they are meant for."""

from math import ceil
from typing import Any

__all__ = ["POOLING_PRESETS", "PRESETS", "compact_options"]

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
    # Sabour et al. 2017, section 7, for SVHN: narrower, with shorter capsules; 1,024 input capsules.
    "svhn": {
        "in_channels": 3,
        "image_size": 32,
        "conv_channels": 64,
        "primary_types": 16,
        "primary_size": 6,
        "capsule_size": 8,
    },
    # As for MNIST, with the extra class of section 7 that takes the votes of parts of no object; 2,048 input capsules.
    "cifar10": {"in_channels": 3, "image_size": 32, "leaky": True},
    # Pairs of 48x48 pixels as two channels: a stride more than for MNIST leaves 1,152 input capsules.
    "smallnorb": {"in_channels": 2, "image_size": 48, "conv_stride": 2, "classes": 5},
    # Section 5.2, on 40x40 pixels: 4,608 input capsules.
    "affnist": {"image_size": 40},
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
    "svhn": {"in_channels": 3, "image_size": 32, "channels": (31, 62, 124), "hidden": (369, 80)},
    "cifar10": {"in_channels": 3, "image_size": 32, "channels": (89, 178, 356), "hidden": (1025, 160)},
    "smallnorb": {"in_channels": 2, "image_size": 48, "channels": (77, 154, 308), "hidden": (412, 80), "classes": 5},
    "affnist": {"image_size": 40, "channels": (105, 210, 420), "hidden": (794, 160)},
}

_SMALL = 24  # pixels below which a kernel of 9x9 would see more border than image
_LONGEST = 4  # side, by the shorter one, for which the kernel that suits it fits into the other too
_POSITIONS = 8  # of primary capsules along a side, at most


def compact_options(shape: tuple[int, int, int]) -> dict[str, Any]:
    """Arguments of :class:`~capsroute.models.CapsNet` for images of any size, such that its inputs stay few.

    As the presets ``"digits"`` and ``"quick"``, with strides that grow with the image: at most 8x8 positions of 8 types
    of primary capsules, 512 input capsules, where the network of the paper has 1,152 for 28x28 pixels and 51,200 for
    96x96.

    Args:
        shape: Channels, height and width in pixels.

    Returns:
        Values of JSON by the names of the arguments, without ``classes``.
    """
    channels, height, width = shape
    short, side = sorted((height, width))
    if short < _SMALL or side > _LONGEST * short:
        kernel, stride, padding, primary_kernel, positions = 3, 1, 1, 3, side
    else:
        stride = max(2, ceil(side / 32))
        kernel, padding, primary_kernel = max(9, 2 * stride + 1), 0, 5
        positions = (side - kernel) // stride - 3
    return {
        "in_channels": channels,
        "image_size": [height, width],
        "conv_channels": 64,
        "conv_kernel": kernel,
        "conv_stride": stride,
        "conv_padding": padding,
        "primary_types": 8,
        "primary_kernel": primary_kernel,
        "primary_stride": ceil(positions / _POSITIONS),
        "primary_padding": padding,
        "decoder_sizes": [256, 512],
    }
