"""Generated faces, the same parts in a wrong arrangement, and scenes that hold no face.

A scene is drawn once and can be rendered with its parts in any arrangement: an ellipse for the head; two eyes, a nose
and a mouth at four places in it; behind it lines and blobs. Position, turn, size, tones, light and noise vary. What
tells a face from a scrambled one is the arrangement alone: both have the same parts of the same tones, at the same four
places, each part whole and none over another.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import permutations

import torch
from torch import Tensor

from capsroute.experiments.data.shapes import arc, ellipse, frame, paint, segment, triangle
from capsroute.training.datasets import ImageSet

__all__ = ["FACE", "OTHER", "SIDE", "faces_and_others", "faces_and_scrambled"]

SIDE = 32
"""Height and width of the images in pixels."""
OTHER, FACE = 0, 1
"""The two classes: everything else, and faces."""

_PARTS = ("left eye", "right eye", "nose", "mouth")
# Places of the parts in a face, in half axes of the head: x to the right, y down.
_PLACES = torch.tensor([[-0.42, -0.32], [0.42, -0.32], [0.0, 0.1], [0.0, 0.58]])
# The eyes are alike, so an arrangement that only swaps them is a face.
_WRONG = torch.tensor([order for order in permutations(range(4)) if order[2:] != (2, 3)])  # [22, 4]
_RIGHT = torch.arange(4)
# Small enough for the memory of a chunk to stay in the cache.
_CHUNK = 128
_LINES, _BLOBS = 4, 3
_GAP = 0.25  # least difference between the tones of a part and of what it lies on


@dataclass(frozen=True)
class _Scenes:
    """What is drawn for N images; lengths in pixels, tones in [0, 1]."""

    centre: Tensor  # [N, 2] of the head
    turn: Tensor  # [N] of the head, radians
    axes: Tensor  # [N, 2] half axes of the head
    jitter: Tensor  # [N, 4, 2] of the places, in half axes
    tilt: Tensor  # [N, 4] of the parts against the head, radians
    size: Tensor  # [N, 4] of the parts, 1 on average
    bend: Tensor  # [N] of the mouth
    head_tone: Tensor  # [N]
    part_tone: Tensor  # [N, 4]
    pupil_tone: Tensor  # [N]
    backdrop: Tensor  # [N, SIDE, SIDE], clutter included
    light: Tensor  # [N, SIDE, SIDE], added
    noise: Tensor  # [N], standard deviation

    def __len__(self) -> int:
        return len(self.turn)


def faces_and_scrambled(count: int, seed: int) -> ImageSet:
    """Faces, each beside the same scene with its parts in a wrong arrangement.

    Args:
        count: Images, an even number; half of them are faces.
        seed: Of everything.

    Returns:
        Images ``[count, 1, 32, 32]``; labels :data:`FACE` at odd places and :data:`OTHER` at even ones.

    Raises:
        ValueError: ``count`` is odd or negative.
    """
    return _pairs(count, seed, lambda scenes, generator: _render(scenes, _scramble(len(scenes), generator), generator))


def faces_and_others(count: int, seed: int) -> ImageSet:
    """Faces, and scenes without one: clutter alone, an empty head, a head with one part, a part without a head.

    Arguments, images, labels and errors are those of :func:`faces_and_scrambled`.
    """
    return _pairs(count, seed, _render_other)


def _pairs(count: int, seed: int, render_other: Callable[[_Scenes, torch.Generator], Tensor]) -> ImageSet:
    """Images of scenes, each once as something else and once as a face."""
    if count < 0 or count % 2:
        raise ValueError(f"count must be even and not negative, got {count}")
    generator = torch.Generator().manual_seed(seed)
    images = torch.empty(count, 1, SIDE, SIDE, dtype=torch.uint8)
    for start in range(0, count, _CHUNK):
        chunk = images[start : start + _CHUNK, 0]
        scenes = _sample(len(chunk) // 2, generator)
        chunk[0::2] = render_other(scenes, generator)
        chunk[1::2] = _render(scenes, _RIGHT.expand(len(scenes), 4), generator)
    return ImageSet(images, torch.arange(count) % 2)


def _scramble(count: int, generator: torch.Generator) -> Tensor:
    """Wrong arrangements ``[count, 4]``: the place of each part."""
    return _WRONG[torch.randint(len(_WRONG), (count,), generator=generator)]


def _render_other(scenes: _Scenes, generator: torch.Generator) -> Tensor:
    count = len(scenes)
    kind = torch.arange(count) % 4  # clutter, empty head, head with a part, part alone
    part = torch.randint(4, (count,), generator=generator)
    present = torch.nn.functional.one_hot(part, 4).bool() & (kind >= 2)[:, None]
    return _render(scenes, _scramble(count, generator), generator, head=(kind == 1) | (kind == 2), present=present)


def _render(
    scenes: _Scenes,
    arrangement: Tensor,
    generator: torch.Generator,
    head: Tensor | None = None,
    present: Tensor | None = None,
) -> Tensor:
    """Draws scenes, with the place of each part in ``[N, 4]``, as uint8 ``[N, SIDE, SIDE]``.

    Where not all are, ``head`` ``[N]`` and ``present`` ``[N, 4]`` say which heads and which parts are drawn.
    """
    at = frame(scenes.centre, scenes.turn, SIDE)
    coverage = ellipse(at, scenes.axes[:, 0], scenes.axes[:, 1])
    images = paint(scenes.backdrop, coverage if head is None else coverage * head[:, None, None], scenes.head_tone)
    for part in range(len(_PARTS)):
        drawn = None if present is None else present[:, part, None, None]
        for coverage, tone in _part(scenes, part, arrangement[:, part]):
            images = paint(images, coverage if drawn is None else coverage * drawn, tone)
    noise = torch.randn(images.shape, generator=generator) * scenes.noise[:, None, None]
    return ((images + scenes.light + noise) * 255).round_().clamp_(0, 255).to(torch.uint8)


def _part(scenes: _Scenes, part: int, place: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Coverages and tones of one part, from below to above, at places ``[N]``."""
    where = (_PLACES[place] + scenes.jitter[:, part]) * scenes.axes
    cosine, sine = scenes.turn.cos(), scenes.turn.sin()
    offset = torch.stack([where[:, 0] * cosine - where[:, 1] * sine, where[:, 0] * sine + where[:, 1] * cosine], dim=1)
    at = frame(scenes.centre + offset, scenes.turn + scenes.tilt[:, part], SIDE)
    unit = scenes.axes[:, 0] * scenes.size[:, part]
    tone = scenes.part_tone[:, part]
    if part < 2:
        return [
            (ellipse(at, 0.24 * unit, 0.17 * unit), tone),
            (ellipse(at, 0.1 * unit, 0.1 * unit), scenes.pupil_tone),
        ]
    if part == 2:
        return [(triangle(at, 0.15 * unit, 0.22 * unit), tone)]
    return [(arc(at, 0.36 * unit, 0.085 * unit, scenes.bend), tone)]


def _sample(count: int, generator: torch.Generator) -> _Scenes:
    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(count, *shape, generator=generator)

    turn = uniform(-0.35, 0.35)
    width = uniform(8.5, 11.0)
    axes = torch.stack([width, width * uniform(1.1, 1.3)], dim=1)
    # Half the sides of the box around the turned head, which stays inside the image.
    cosine, sine = turn.cos(), turn.sin()
    turned = torch.stack([torch.stack([cosine, sine], dim=1), torch.stack([sine, cosine], dim=1)], dim=1)  # [N, 2, 2]
    reach = (turned * axes[:, None]).square().sum(dim=2).sqrt()
    centre = uniform(-1, 1, 2) * (SIDE / 2 - reach).clamp_min(0)
    head_tone = uniform(0.4, 0.9)
    # Parts are darker than the head, as they mostly are, and pupils are either way.
    part_tone = ((head_tone[:, None] - _GAP) * uniform(0, 1, 3))[:, [0, 0, 1, 2]]
    return _Scenes(
        centre=centre,
        turn=turn,
        axes=axes,
        jitter=uniform(-0.04, 0.04, 4, 2),
        tilt=uniform(-0.15, 0.15, 4),
        size=uniform(0.85, 1.1, 3)[:, [0, 0, 1, 2]],
        bend=uniform(-0.35, 0.35),
        head_tone=head_tone,
        part_tone=part_tone,
        pupil_tone=_contrasting(part_tone[:, 0], uniform(0, 1)),
        backdrop=_backdrop(_contrasting(head_tone, uniform(0, 1)), generator),
        light=_light(uniform(-0.12, 0.12, 2)),
        noise=uniform(0.01, 0.05),
    )


def _contrasting(tone: Tensor, draw: Tensor) -> Tensor:
    """Tones in [0, 1], uniform over what is at least the gap away from ``tone``; ``draw`` is uniform in [0, 1]."""
    below, above = (tone - _GAP).clamp_min(0), (1 - _GAP - tone).clamp_min(0)
    chosen = draw * (below + above)
    return torch.where(chosen < below, chosen, chosen - below + tone + _GAP)


def _backdrop(tone: Tensor, generator: torch.Generator) -> Tensor:
    count = len(tone)
    images = tone[:, None, None].expand(count, SIDE, SIDE)
    for clutter in range(_LINES + _BLOBS):
        draws = torch.rand(count, 6, generator=generator)
        at = frame(SIDE * (draws[:, :2] - 0.5), torch.pi * draws[:, 2], SIDE)
        if clutter < _LINES:
            coverage = segment(at, 4 + 12 * draws[:, 3], 0.4 + 0.8 * draws[:, 4])
        else:
            coverage = ellipse(at, 1 + 3 * draws[:, 3], 1 + 3 * draws[:, 4])
        images = paint(images, coverage, draws[:, 5])
    return images


def _light(slope: Tensor) -> Tensor:
    """Planes ``[N, SIDE, SIDE]`` that rise by ``slope`` ``[N, 2]`` from the middle to an edge."""
    axis = torch.linspace(-1, 1, SIDE)
    return slope[:, 0, None, None] * axis[None, None, :] + slope[:, 1, None, None] * axis[None, :, None]
