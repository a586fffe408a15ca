"""Using a trained network on images of one's own."""

from capsroute.inference.errors import ImageError
from capsroute.inference.images import InputImage, read_image, read_picture
from capsroute.inference.network import read_network
from capsroute.inference.picture import draw_reconstructions
from capsroute.inference.prediction import Prediction, predict

__all__ = [
    "ImageError",
    "InputImage",
    "Prediction",
    "draw_reconstructions",
    "predict",
    "read_image",
    "read_network",
    "read_picture",
]
