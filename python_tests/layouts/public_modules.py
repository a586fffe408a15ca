"""Public capsule modules in a few lines each: their keys, their order of axes, their formulae; sizes are free.

They stand for the originals in the tests of converted state dicts. What an original does beyond the capsules (losses,
decoding the true class) is left out, and so are fixed devices.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Squash = Callable[[Tensor], Tensor]


def squash(s: Tensor, dim: int = -1) -> Tensor:
    """With no eps."""
    n = (s * s).sum(dim, keepdim=True)
    return n / (1 + n) * s / n.sqrt()


def squash_norm_eps(s: Tensor) -> Tensor:
    r = s.norm(dim=-1, keepdim=True)
    return r * r / (1 + r * r) * s / (r + 1e-8)


def squash_root_eps(s: Tensor, eps: float = 1e-8) -> Tensor:
    n = (s * s).sum(-1, keepdim=True)
    return n / (1 + n) * s / (n + eps).sqrt()


def route(
    votes: Tensor,
    inputs: int,
    softmax: int,
    iterations: int,
    squash: Squash = squash,
    logits: Tensor | None = None,
    detach: bool = False,
) -> Tensor:
    """Routing in the votes' own order of axes: ``inputs`` is the axis of the inputs, ``softmax`` that of the softmax.

    The components are last. ``logits`` has the axes of ``votes`` with 1 component.
    """
    b = torch.zeros_like(votes[..., :1]) if logits is None else logits
    for t in range(iterations):
        u = votes.detach() if detach and t < iterations - 1 else votes
        v = squash((b.softmax(softmax) * u).sum(inputs, keepdim=True))
        b = b + (u * v).sum(-1, keepdim=True)
    return v.squeeze(inputs)


def parameter(*shape: int) -> nn.Parameter:
    return nn.Parameter(torch.randn(shape))


# --- layers: x [B, I, d] to [B, J, D] ---


class XifengGuoDenseCapsule(nn.Module):
    def __init__(self, I: int, d: int, J: int, D: int) -> None:  # noqa: E741
        super().__init__()
        self.weight = parameter(J, I, D, d)

    def forward(self, x: Tensor) -> Tensor:
        votes = (self.weight @ x[:, None, :, :, None]).squeeze(-1)
        return route(votes, 2, 1, 3, squash_norm_eps, detach=True)


class DanielHavirRoutingCapsules(nn.Module):
    def __init__(self, I: int, d: int, J: int, D: int) -> None:  # noqa: E741
        super().__init__()
        self.W = parameter(1, J, I, D, d)

    def forward(self, x: Tensor) -> Tensor:
        votes = (self.W @ x.unsqueeze(1).unsqueeze(4)).squeeze(-1)
        return route(votes, 2, 1, 3, squash_norm_eps, detach=True)


class GramAiCapsuleLayer(nn.Module):
    """``learned`` for its older version."""

    def __init__(self, I: int, d: int, J: int, D: int, learned: bool = False) -> None:  # noqa: E741
        super().__init__()
        self.route_weights = parameter(J, I, d, D)
        self.route_logits = parameter(J, 1, I, 1, 1) if learned else None

    def forward(self, x: Tensor) -> Tensor:
        votes = x[None, :, :, None, :] @ self.route_weights[:, None]
        return route(votes, 2, 2, 3, logits=self.route_logits).squeeze(2).transpose(0, 1)


class AgreementRouting(nn.Module):
    def __init__(self, I: int, J: int, n_iterations: int) -> None:  # noqa: E741
        super().__init__()
        self.n_iterations = n_iterations
        self.b = parameter(I, J)

    def forward(self, votes: Tensor) -> Tensor:
        return route(votes, 1, 2, self.n_iterations + 1, logits=self.b[None, :, :, None])


class AdamBielskiCapsLayer(nn.Module):
    def __init__(self, I: int, d: int, J: int, D: int, n_iterations: int = 2) -> None:  # noqa: E741
        super().__init__()
        self.sizes = (I, J, D)
        self.weights = parameter(I, d, J * D)
        self.routing_module = AgreementRouting(I, J, n_iterations)

    def forward(self, x: Tensor) -> Tensor:
        return self.routing_module((x.unsqueeze(2) @ self.weights).view(-1, *self.sizes))


class Teju85Capsule(nn.Module):
    def __init__(self, I: int, d: int, J: int, D: int) -> None:  # noqa: E741
        super().__init__()
        self.sizes = (I, J, D)
        self.W = parameter(I, d, J * D)

    def forward(self, x: Tensor) -> Tensor:
        return route((x.unsqueeze(-1) * self.W).sum(2).view(-1, *self.sizes), 1, 2, 3)


class LabmlRouter(nn.Module):
    def __init__(self, I: int, d: int, J: int, D: int) -> None:  # noqa: E741
        super().__init__()
        self.weight = parameter(I, J, d, D)

    def forward(self, x: Tensor) -> Tensor:
        return route(torch.einsum("ijnm,bin->bijm", self.weight, x), 1, 1, 3, squash_root_eps)


class SrCapsNetDynamicRouting2d(nn.Module):
    """As the last layer, with a window that covers all: x is then [B, positions * types, d] already."""

    def __init__(self, I: int, d: int, J: int, D: int) -> None:  # noqa: E741
        super().__init__()
        self.sizes = (I, J, D)
        self.W = parameter(I, J * D, d)

    def forward(self, x: Tensor) -> Tensor:
        votes = (self.W @ x[:, None, :, :, None]).squeeze(-1).view(-1, 1, *self.sizes)
        return route(votes, 2, 3, 3).squeeze(1)


class LatentCapsLayer(nn.Module):
    def __init__(self, I: int, d: int, J: int, D: int) -> None:  # noqa: E741
        super().__init__()
        self.W = parameter(J, I, D, d)

    def forward(self, x: Tensor) -> Tensor:
        return route((self.W @ x[:, None, :, :, None]).squeeze(-1), 2, 1, 3, detach=True)


class LeftThomasCapsuleLinear(nn.Module):
    def __init__(self, I: int, d: int, J: int, D: int, share_weight: bool) -> None:  # noqa: E741
        super().__init__()
        self.weight = parameter(J, D, d) if share_weight else parameter(J, I, D, d)

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight.unsqueeze(1) if self.weight.dim() == 3 else self.weight
        return route((weight @ x[:, None, :, :, None]).squeeze(-1), 2, 1, 3)


class ForensicsRoutingLayer(nn.Module):
    """Capsules in and out are transposed; logits and agreement are per component, as in the original."""

    def __init__(self, I: int, d: int, J: int, D: int, num_iterations: int) -> None:  # noqa: E741
        super().__init__()
        self.num_iterations = num_iterations
        self.route_weights = parameter(J, I, D, d)

    def forward(self, x: Tensor) -> Tensor:
        votes = (self.route_weights[:, None] @ x.mT[None, :, :, :, None]).transpose(0, 1)
        logits = torch.zeros_like(votes)
        for _ in range(self.num_iterations):
            v = squash((logits.softmax(2) * votes).sum(2, keepdim=True), dim=3)
            logits = logits + votes * v
        return v.squeeze(4).squeeze(2).mT


class BatchSharedLayer(nn.Module):
    """timomernick, cedrickchee, higgsfield, jindongwang: the votes alone, [B, I, J, D]."""

    def __init__(self, I: int, d: int, J: int, D: int) -> None:  # noqa: E741
        super().__init__()
        self.W = parameter(1, I, J, D, d)

    def forward(self, x: Tensor) -> Tensor:
        return (self.W @ x[:, :, None, :, None]).squeeze(-1)


class RechubCapsuleNetwork(nn.Module):
    def __init__(self, size: int, length: int, interests: int, bilinear_type: int) -> None:
        super().__init__()
        self.interests = interests
        self.relu = nn.Sequential(nn.Linear(size, size, bias=False), nn.ReLU())  # made, but used on request only
        if bilinear_type == 0:
            self.linear = nn.Linear(size, size, bias=False)
        elif bilinear_type == 1:
            self.linear = nn.Linear(size, size * interests, bias=False)
        else:
            self.w = parameter(1, length, interests * size, size)
        self.bilinear_type = bilinear_type

    def forward(self, items: Tensor, mask: Tensor, logits: Tensor) -> Tensor:
        """``logits`` [B, J, I] in place of its random ones."""
        votes = (self.w * items.unsqueeze(2)).sum(3) if self.bilinear_type == 2 else self.linear(items)
        if self.bilinear_type == 0:
            votes = votes.repeat(1, 1, self.interests)
        votes = votes.unflatten(2, (self.interests, -1)).transpose(1, 2)
        for t in range(3):
            u = votes if t == 2 else votes.detach()
            coupling = torch.where(mask[:, None] == 0, 0.0, logits.softmax(-1))
            v = squash_root_eps(coupling.unsqueeze(2) @ u, 1e-9)
            logits = logits + (u @ v.mT).squeeze(-1)
        return v.squeeze(2)


# --- networks: images to (class capsules [B, J, D], reconstruction [B, pixels] or None) ---


def linears(*widths: int) -> nn.Sequential:
    """Three linear layers at 0, 2 and 4, with ReLU and a sigmoid."""
    a, b, c, pixels = widths
    return nn.Sequential(nn.Linear(a, b), nn.ReLU(), nn.Linear(b, c), nn.ReLU(), nn.Linear(c, pixels), nn.Sigmoid())


def longest(capsules: Tensor) -> Tensor:
    """All but the longest capsule set to 0, flat."""
    chosen = F.one_hot(capsules.norm(dim=-1).argmax(1), capsules.shape[1])
    return (capsules * chosen[..., None]).flatten(1)


class Reconstructor(nn.Module):
    """fc1, fc2, fc3 of adambielski and teju85."""

    def __init__(self, *widths: int) -> None:
        super().__init__()
        self.fc1, self.fc2, self.fc3 = (nn.Linear(a, b) for a, b in pairwise(widths))

    def forward(self, flat: Tensor) -> Tensor:
        return self.fc3(self.fc2(self.fc1(flat).relu()).relu()).sigmoid()


class Sizes:
    """Of the networks below: 8x8 images, 2x2 positions of 5 types of 3 components; 3 does not divide 4 positions."""

    image, channels, hidden, kernel = 8, 5, (7, 11), 3
    types, size, positions = 5, 3, 4
    classes, capsule = 3, 6
    inputs = types * positions

    @classmethod
    def widths(cls) -> tuple[int, ...]:
        return (cls.classes * cls.capsule, *cls.hidden, cls.image**2)


S = Sizes
Layer = Callable[[], nn.Module]


def first_convolution() -> nn.Conv2d:
    return nn.Conv2d(1, S.channels, S.kernel)


def primary_convolution(channels: int) -> nn.Conv2d:
    return nn.Conv2d(S.channels, channels, S.kernel, stride=2)


def dense() -> tuple[int, int, int, int]:
    return S.inputs, S.size, S.classes, S.capsule


class GramAiPrimary(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.capsules = nn.ModuleList(primary_convolution(S.types) for _ in range(S.size))

    def forward(self, features: Tensor) -> Tensor:
        return squash(torch.cat([c(features).view(len(features), -1, 1) for c in self.capsules], dim=-1))


class GramAiCapsuleNet(nn.Module):
    def __init__(self, learned: bool = False) -> None:
        super().__init__()
        self.conv1 = first_convolution()
        self.primary_capsules = GramAiPrimary()
        self.digit_capsules = GramAiCapsuleLayer(*dense(), learned=learned)
        self.decoder = linears(*S.widths())

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        capsules = self.digit_capsules(self.primary_capsules(self.conv1(images).relu()))
        return capsules, self.decoder(longest(capsules))


class OfficiumCapsuleNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(first_convolution(), nn.ReLU())
        self.second = nn.ModuleList(primary_convolution(S.types) for _ in range(S.size))
        self.third = parameter(S.classes, S.inputs, S.size, S.capsule)
        self.decoder = linears(*S.widths())

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        features = self.first(images)
        x = squash(torch.stack([c(features).flatten(1) for c in self.second], 2))
        capsules = route(x[None, :, :, None, :] @ self.third[:, None], 2, 2, 3).squeeze(2).transpose(0, 1)
        return capsules, self.decoder(longest(capsules))


def by_type(maps: Tensor) -> Tensor:
    """Groups of channels, types before positions, as adambielski and teju85 have them."""
    return squash(maps.unflatten(1, (S.types, S.size)).permute(0, 1, 3, 4, 2).reshape(len(maps), -1, S.size))


class AdamBielskiPrimary(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = primary_convolution(S.types * S.size)

    def forward(self, features: Tensor) -> Tensor:
        return by_type(self.conv(features))


class AdamBielskiCapsNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1 = first_convolution()
        self.primaryCaps = AdamBielskiPrimary()
        self.digitCaps = AdamBielskiCapsLayer(*dense())

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        return self.digitCaps(self.primaryCaps(self.conv1(images).relu())), None


class AdamBielskiCapsNetWithReconstruction(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.capsnet = AdamBielskiCapsNet()
        self.reconstruction_net = Reconstructor(*S.widths())

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        capsules, _ = self.capsnet(images)
        return capsules, self.reconstruction_net(longest(capsules))


class Teju85ConvCapsule(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.c1 = primary_convolution(S.types * S.size)

    def forward(self, features: Tensor) -> Tensor:
        return by_type(self.c1(features))


class Teju85CapsuleNetwork(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.c1 = first_convolution()
        self.convcaps = Teju85ConvCapsule()
        self.caps = Teju85Capsule(*dense())
        self.decoder = Reconstructor(*S.widths())

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        capsules = self.caps(self.convcaps(self.c1(images).relu()))
        return capsules, self.decoder(longest(capsules))


class LabmlModel(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1 = first_convolution()
        self.conv2 = primary_convolution(S.types * S.size)
        self.digit_capsules = LabmlRouter(*dense())
        self.decoder = linears(*S.widths())

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        maps = self.conv2(self.conv1(images).relu())
        x = squash_root_eps(maps.view(len(maps), S.size, -1).mT)
        capsules = self.digit_capsules(x)
        return capsules, self.decoder(longest(capsules))


class FlatPrimary(nn.Module):
    """XifengGuo's (conv2d) and danielhavir's (conv): capsules as the maps lie in memory."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name
        self.add_module(name, primary_convolution(S.types * S.size))

    def forward(self, features: Tensor) -> Tensor:
        return squash_norm_eps(self.get_submodule(self.name)(features).reshape(len(features), -1, S.size))


class XifengGuoCapsuleNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1 = first_convolution()
        self.primarycaps = FlatPrimary("conv2d")
        self.digitcaps = XifengGuoDenseCapsule(*dense())
        self.decoder = linears(*S.widths())

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        capsules = self.digitcaps(self.primarycaps(self.conv1(images).relu()))
        return capsules, self.decoder(longest(capsules))


class DanielHavirCapsuleNetwork(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1 = first_convolution()
        self.primary = FlatPrimary("conv")
        self.digits = DanielHavirRoutingCapsules(*dense())
        self.decoder = linears(*S.widths())

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        capsules = self.digits(self.primary(self.conv1(images).relu()))
        return capsules, self.decoder(longest(capsules))
