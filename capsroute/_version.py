"""The one home of the version: packaging, CMake and ``capsroute.__version__`` all read it from here."""

__version__ = "0.1.0"
