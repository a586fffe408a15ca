"""Weights and votes to and from the layout of capsroute."""

from __future__ import annotations

from torch import Tensor

from capsroute.layouts.axes import rearrange
from capsroute.layouts.table import axes_of

__all__ = ["votes_from_capsroute", "votes_to_capsroute", "weight_from_capsroute", "weight_to_capsroute"]


def weight_to_capsroute(weight: Tensor, layout: str, **sizes: int) -> Tensor:
    """A weight of another implementation as :func:`capsroute.dynamic_routing` takes it.

    Args:
        weight: In the layout ``layout``; any dtype and device.
        layout: A name of :func:`known`, or axes such as ``"J,I,D,d"``, ``"1,I,JD,d,1"`` or ``"d,D"``; see
            :mod:`capsroute.layouts.axes`.
        **sizes: Sizes that the shape does not tell: ``J=10`` or ``D=16`` where both are one axis, ``J`` where the
            weight is shared over the output capsules.

    Returns:
        ``[I, J, D, d]``, a view that autograd sees through; ``[1, J, D, d]`` where the weight is shared over the input
        capsules (``I=...`` in ``sizes`` makes it ``[I, J, D, d]`` with stride 0).

    Raises:
        TypeError: ``weight`` is not a tensor, ``layout`` not a string or a size not an int.
        ValueError: ``layout`` is unknown, or the shape of ``weight`` contradicts it or a size.
    """
    source, target = axes_of(layout, "weight")
    if "I" in target and "I" not in source:
        sizes.setdefault("I", 1)
    return rearrange(weight, source, target, "weight", **sizes)


def weight_from_capsroute(weight: Tensor, layout: str, **sizes: int) -> Tensor:
    """A weight of :func:`capsroute.dynamic_routing` in the layout of another implementation.

    Args:
        weight: ``[I, J, D, d]``; any dtype and device.
        layout: See :func:`weight_to_capsroute`. Where it shares the weight over I or J, that axis of ``weight`` must be
            of size 1 or of stride 0.
        **sizes: See :func:`weight_to_capsroute`.

    Returns:
        In the layout ``layout``: a view where strides can express it, which they cannot where axes are merged that do
        not lie together in memory.

    Raises:
        TypeError: See :func:`weight_to_capsroute`.
        ValueError: See :func:`weight_to_capsroute`; or the layout shares what ``weight`` does not.
    """
    source, target = axes_of(layout, "weight")
    return rearrange(weight, target, source, "weight", **sizes)


def votes_to_capsroute(votes: Tensor, layout: str, **sizes: int) -> Tensor:
    """Votes (prediction vectors) of another implementation as :func:`capsroute.route_votes` takes them.

    Args:
        votes: In the layout ``layout``; any dtype and device.
        layout: A name of :func:`known`, or axes such as ``"B,J,I,D"`` or ``"J,B,I,1,D"``; see
            :mod:`capsroute.layouts.axes`.
        **sizes: Sizes that the shape does not tell; ``J`` where all output capsules get the same votes.

    Returns:
        ``[B, I, J, D]``, a view that autograd sees through. Convolutional votes become ``[B * positions, I, J, D]``,
        which copies where the positions do not follow the samples in memory, or, of DeepCaps,
        ``[B, I, J, height, width, D]``.

    Raises:
        TypeError: ``votes`` is not a tensor, ``layout`` not a string or a size not an int.
        ValueError: ``layout`` is unknown, or the shape of ``votes`` contradicts it or a size.
    """
    source, target = axes_of(layout, "votes")
    return rearrange(votes, source, target, "votes", **sizes)


def votes_from_capsroute(votes: Tensor, layout: str, **sizes: int) -> Tensor:
    """Votes of :func:`capsroute.route_votes` in the layout of another implementation.

    Args:
        votes: As :func:`votes_to_capsroute` returns them; any dtype and device.
        layout: See :func:`votes_to_capsroute`.
        **sizes: See :func:`votes_to_capsroute`.

    Returns:
        In the layout ``layout``: a view where strides can express it.

    Raises:
        TypeError: See :func:`votes_to_capsroute`.
        ValueError: See :func:`votes_to_capsroute`; or the layout has no axis for what differs along it.
    """
    source, target = axes_of(layout, "votes")
    return rearrange(votes, target, source, "votes", **sizes)
