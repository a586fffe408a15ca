"""The weight and vote layouts of public implementations, as data.

A name is that of the repository, with a part after a colon where one repository has several. Without an arrow, a weight
becomes ``[I, J, D, d]`` and votes become ``[B, I, J, D]``. Beside these letters, ``h, w`` are the positions of a
convolution's window (in votes: of its output), ``c`` capsule types and ``p`` the inputs of one type.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import NamedTuple

from capsroute.layouts.axes import is_axes

__all__ = ["LAYOUTS", "Layout", "axes_of", "known", "unknown"]

WEIGHT = "I,J,D,d"
VOTES = "B,I,J,D"

_ARROW = "->"
_JOINED_WINDOW = "1,J,D,hwd"  # the weight of ConvCapsules2d(window="joined", share_types=True)


class Layout(NamedTuple):
    """How one implementation keeps its weight and its votes; None where it has none."""

    weight: str | None
    votes: str | None
    remark: str = ""


LAYOUTS: dict[str, Layout] = {
    "Sarasra/models": Layout("I,d,JD", "B,I,J,D"),
    "Sarasra/models:conv": Layout(
        f"h,w,d,JD->{_JOINED_WINDOW}",
        "B,I,J,D,h,w->Bhw,I,J,D",
        "W shared by the input types; a sample of the result is an output position",
    ),
    "XifengGuo/CapsNet-Pytorch": Layout("J,I,D,d", "B,J,I,D"),
    "XifengGuo/CapsNet-Keras": Layout("J,I,D,d", "B,J,I,D"),
    "naturomics/CapsNet-Tensorflow": Layout("1,I,JD,d,1", "B,I,J,D,1"),
    "gram-ai/capsule-networks": Layout("J,I,d,D", "J,B,I,1,D"),
    "adambielski/CapsNet-pytorch": Layout("I,d,JD", "B,I,J,D"),
    "timomernick/pytorch-capsule": Layout("1,I,J,D,d", "B,I,J,D,1"),
    "cedrickchee/capsule-net-pytorch": Layout("1,I,J,D,d", "B,I,J,D,1"),
    "higgsfield/Capsule-Network-Tutorial": Layout("1,I,J,D,d", "B,I,J,D,1"),
    "jindongwang/Pytorch-CapsuleNet": Layout("1,I,J,D,d", "B,I,J,D,1"),
    "danielhavir/capsule-network": Layout("1,J,I,D,d", "B,J,I,D"),
    "Officium/Capsules": Layout("J,I,d,D", "J,B,I,1,D"),
    "labmlai/annotated_deep_learning_paper_implementations": Layout("I,J,d,D", "B,I,J,D"),
    "teju85/capsnet": Layout("I,d,JD", "B,I,J,D"),
    "coder3000/SR-CapsNet": Layout(
        "I,JD,d",
        "B,p,I,J,D->Bp,I,J,D",
        "I = window positions x types, types innermost; p = output positions, each a sample of the result",
    ),
    "yongheng1991/3D-point-capsule-networks": Layout("J,I,D,d", "B,J,I,D"),
    "nii-yamagishilab/Capsule-Forensics-v2": Layout("J,I,D,d", "B,J,I,D,1"),
    "keras-team/keras:shared": Layout("1,d,JD", "B,J,I,D", "the capsule example, also bojone/Capsule; W shared over I"),
    "keras-team/keras:separate": Layout("I,d,JD", "B,J,I,D", "the same with share_weights=False"),
    "brjathu/deepcaps:CapsuleLayer": Layout("J,I,D,d", "B,J,I,D", "channels=0"),
    "brjathu/deepcaps:CapsuleLayer-channels": Layout(
        "J,c,D,d->cp,J,D,d",
        "B,J,I,D",
        "each of c matrices serves p consecutive inputs: give p; copies, because ours serves every c-th input",
    ),
    "brjathu/deepcaps:ConvCapsuleLayer3D": Layout(
        f"d,h,w,1,JD->{_JOINED_WINDOW}",
        "B,I,J,D,h,w->B,I,J,h,w,D",
        "softmax jointly over J and the positions: several output axes",
    ),
    "brjathu/deepcaps:DenseCaps": Layout("I,d,J,D", "B,I,J,D"),
    "lalonderodney/SegCaps": Layout(
        f"h,w,d,JD->{_JOINED_WINDOW}",
        "B,I,h,w,J,D->Bhw,I,J,D",
        "W shared by the input types; a sample of the result is an output position",
    ),
    "leftthomas/CapsuleLayer:shared": Layout("J,D,d", "B,J,I,D", "share_weight=True: W shared over I"),
    "leftthomas/CapsuleLayer:separate": Layout("J,I,D,d", "B,J,I,D"),
    "naturomics/CapsLayer": Layout(None, "B,I,J,D,1"),
    "THUDM/ComiRec:0": Layout("d,D", "B,J,I,D", "one matrix for all I and J: give J"),
    "THUDM/ComiRec:1": Layout("d,JD", "B,J,I,D", "W shared over I"),
    "THUDM/ComiRec:2": Layout("1,I,JD,d", "B,J,I,D"),
    "datawhalechina/torch-rechub:0": Layout("D,d", "B,J,I,D", "one matrix for all I and J: give J"),
    "datawhalechina/torch-rechub:1": Layout("JD,d", "B,J,I,D", "W shared over I"),
    "datawhalechina/torch-rechub:2": Layout("1,I,JD,d", "B,J,I,D"),
    "alibaba/TorchEasyRec": Layout("d,D", "B,I,D", "one matrix, and so the same votes, for all J: give J"),
    "dmlc/dgl": Layout(None, "IJ,D->1,I,J,D", "an edge for each pair, sorted by input; one sample; give J"),
    "haofengac/pyCapsNet": Layout("1,I,J,D,d", "B,I,J,D,1"),
}


def known() -> tuple[str, ...]:
    """Names of all layouts."""
    return tuple(LAYOUTS)


def axes_of(layout: str, kind: str) -> tuple[str, str]:
    """Axis strings of a layout and of what it becomes.

    Args:
        layout: A name of :data:`~capsroute.layouts.LAYOUTS`, or an axis string, with an arrow or without.
        kind: ``"weight"`` or ``"votes"``.

    Raises:
        TypeError: ``layout`` is not a string.
        ValueError: The name is unknown (the message lists all and the nearest), or the implementation has no such
            tensor.
    """
    if not isinstance(layout, str):
        raise TypeError(f"layout must be a str, got {type(layout).__name__}")
    if layout in LAYOUTS:
        axes: str | None = getattr(LAYOUTS[layout], kind)
        if axes is None:
            raise ValueError(f"layout {layout!r} has no {kind}")
    elif is_axes(layout) and "," in layout:
        axes = layout
    else:
        raise unknown("layout", layout, LAYOUTS, ", or axes such as 'J,I,D,d'")
    source, arrow, target = axes.partition(_ARROW)
    return source, target if arrow else {"weight": WEIGHT, "votes": VOTES}[kind]


def unknown(argument: str, name: object, known: Iterable[str], otherwise: str = "") -> ValueError:
    """The error for a name that is none of the known ones: it lists them and the nearest match.

    Args:
        argument: What the name was given as.
        name: What was given.
        known: All names.
        otherwise: What else would have been allowed, for example ``" or an axis string"``.
    """
    names = list(known)
    by_lower_case = {candidate.lower(): candidate for candidate in names}
    nearest = difflib.get_close_matches(str(name).lower(), by_lower_case, n=1, cutoff=0.5)
    hint = f" Did you mean {by_lower_case[nearest[0]]!r}?" if nearest else ""
    return ValueError(f"unknown {argument} {name!r}.{hint} Known are: {', '.join(names)}{otherwise}.")
