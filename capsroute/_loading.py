"""Loads the compiled module after torch, and says what is missing where the system cannot load it."""

from __future__ import annotations

import re
import sysconfig
import warnings
from pathlib import Path

# First: the compiled module takes the OpenMP library that torch has loaded, and wheels bring none.
import torch
from torch.jit._trace import TracerWarning

from ._version import __version__

# What a trace finds our checks to decide from sizes is not lost to it; torch ignores these warnings of its own modules.
warnings.filterwarnings("ignore", category=TracerWarning, module=r"capsroute\.(?!nn\.conv)")

_HERE = Path(__file__).parent


def _explained(error: ImportError) -> str | None:
    """What to do about an import that failed, or None where that is not known."""
    said = str(error)
    if "cannot import name '_native'" in said:
        others = ", ".join(sorted(path.name for path in _HERE.glob("_native.*.so")))
        if others:
            return (
                f"capsroute in {_HERE} was built for another Python ({others}) and not for this one "
                f"({sysconfig.get_config_var('EXT_SUFFIX')}): install it with the pip of this Python"
            )
        return (
            f"capsroute in {_HERE} has no compiled module: where this is the source folder, leave it to import the "
            "installed package, or build in it by pip install --editable ."
        )
    if "libgomp.so.1" in said:
        return (
            "capsroute needs libgomp.so.1, which this torch does not bring and the system does not have: install it "
            f"(Debian and Ubuntu: apt install libgomp1; Fedora and RHEL: dnf install libgomp; {error})"
        )
    if wanted := re.search(r"(GLIBCXX|CXXABI|GLIBC)_[0-9.]+' not found", said):
        library = "C library" if wanted[1] == "GLIBC" else "C++ library (libstdc++)"
        return (
            f"capsroute was compiled for a newer {library} than the one that is loaded here: take a newer one (conda: "
            f"conda install -c conda-forge libstdcxx), or compile capsroute here by pip install --no-binary capsroute "
            f"capsroute ({error})"
        )
    return None


def _check_versions() -> None:
    if torch.__version__ < "2.5.0a0":
        raise ImportError(f"capsroute needs torch 2.5 or newer, got {torch.__version__}: update torch")
    if (compiled := _native.build_info()["version"]) != __version__:
        raise ImportError(
            f"the compiled module in {_HERE} is of capsroute {compiled} and the Python files beside it are of "
            f"{__version__}: build it again by pip install"
        )


try:
    from . import _native
except ImportError as error:
    if explained := _explained(error):
        raise ImportError(explained) from error
    raise
_check_versions()
