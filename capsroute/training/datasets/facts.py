"""What is known of the data sets themselves."""

from dataclasses import dataclass

__all__ = ["DIGITS", "MNIST", "UNNAMED", "DatasetFacts"]


@dataclass(frozen=True)
class DatasetFacts:
    """What a user of a trained network must know of the data behind it.

    How many images there are, and of which size, is not said here: :class:`~capsroute.training.datasets.Dataset` counts
    what was read.

    Args:
        title: Its name in full.
        description: What the images show, and how they come: clauses without a full stop.
        origin: Who made it, and where it is described.
        licence: On what terms it may be used, as far as is known.
        classes: Name of each class, in the order of the labels; empty for their numbers.
        name: A short name for headings; the title where it is empty.
    """

    title: str
    description: str
    origin: str
    licence: str
    classes: tuple[str, ...] = ()
    name: str = ""

    @property
    def heading(self) -> str:
        """What the data set is called in passing."""
        return self.name or self.title


_NUMERALS = tuple("0123456789")

UNNAMED = DatasetFacts(
    title="images without a name",
    description="Images that a program handed over without saying what they show",
    origin="not known",
    licence="not known",
)
"""Of images that somebody trains on in Python and says nothing about."""

DIGITS = DatasetFacts(
    name="digits",
    title="Optical Recognition of Handwritten Digits, the test part, as scikit-learn has it",
    description=(
        "1,797 handwritten digits of 8x8 pixels, light on dark, in 17 shades of grey; each digit fills the image. "
        "A stratified fifth, 360 images, the same in every run, is the test set"
    ),
    origin=(
        "E. Alpaydin and C. Kaynak, 1998, UCI Machine Learning Repository, https://doi.org/10.24432/C50P49; "
        "43 people wrote the digits, 13 of them those of this part"
    ),
    licence="CC BY 4.0, by the page of the UCI repository",
    classes=_NUMERALS,
)
MNIST = DatasetFacts(
    name="mnist",
    title="MNIST",
    description=(
        "70,000 handwritten digits of 28x28 pixels, light on dark; each digit was scaled into 20x20 pixels and its "
        "centre of mass put into the middle. 60,000 images to train on, 10,000 to test on"
    ),
    origin=(
        "Y. LeCun, C. Cortes and C. J. C. Burges, 1998, from Special Databases 1 and 3 of NIST, "
        "http://yann.lecun.com/exdb/mnist/"
    ),
    licence="its authors named none; copies of it are often given out as CC BY-SA 3.0",
    classes=_NUMERALS,
)
