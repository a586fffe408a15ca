"""Trained weights of public modules into modules of capsroute."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import Tensor

from capsroute.layouts.axes import parse, plain_sizes, rearrange, solve
from capsroute.layouts.modules import SOURCES, Entry, Source
from capsroute.layouts.table import unknown

__all__ = ["convert_state_dict", "module_options", "sources"]

_WRAPPERS = ("module.", "_orig_mod.")  # of DataParallel (and DistributedDataParallel) and of torch.compile


def sources() -> tuple[str, ...]:
    """Names of all modules that :func:`convert_state_dict` knows."""
    return tuple(SOURCES)


def module_options(source: str) -> dict[str, Any]:
    """Arguments, beside the sizes, with which a module of capsroute gives the outputs of ``source``.

    Args:
        source: A name of :func:`sources`.

    Returns:
        Keyword arguments of the module that loads the converted state dict, a :class:`capsroute.nn.CapsuleLayer`,
        :class:`capsroute.nn.InterestCapsules` or :class:`capsroute.models.CapsNet`. Where a network needs
        :class:`FlatPrimaryCapsules`, they are those of the :class:`capsroute.nn.CapsuleLayer` beside it.

    Raises:
        ValueError: ``source`` is unknown.
    """
    return dict(_source(source).options)


def convert_state_dict(
    state_dict: Mapping[str, Tensor], source: str, prefix: str = "", *, drop: Iterable[str] = (), **sizes: int
) -> dict[str, Tensor]:
    """A state dict of a public module as one that a module of capsroute loads.

    Args:
        state_dict: As ``torch.load`` returns it, on any device, in any dtype. What DataParallel and ``torch.compile``
            put before all keys is taken off.
        source: A name of :func:`sources`: repository, colon, module.
        prefix: Where the module stands in the state dict, with or without the last dot: ``"digitcaps"``. Keys outside
            are left alone.
        drop: Keys, without ``prefix``, that are not wanted; ``*`` stands for anything. Nothing is dropped otherwise.
        **sizes: Sizes that the shapes do not tell: ``J=10`` where J and D are one axis of the weight.

    Returns:
        Keys and tensors for ``load_state_dict``, of a layer ``weight`` and where learned ``logits``, or all of
        :class:`capsroute.models.CapsNet`. Where nothing has to move, tensors share memory with those of ``state_dict``.

    Raises:
        TypeError: ``state_dict`` is no mapping of tensors, or a size not an int.
        ValueError: ``source`` is unknown, keys are missing or left over (the message lists them all), a shape
            contradicts another or a size, or a size is missing.
    """
    entries = _source(source).entries
    own = _inside(_tensors(state_dict), prefix)
    found = _matched(entries, own, source, tuple(drop))
    axes = {entry: _arrow(entry) for entry in found if entry.axes}
    letters = {letter for pair in axes.values() for text in pair for axis in parse(text) for letter in axis}
    if unused := sorted(set(sizes) - letters):
        raise ValueError(f"{source!r} has no axis {', '.join(unused)}")
    lengths: list[tuple[str, int]] = []
    for entry, (before, _) in axes.items():
        names, shape = parse(before), found[entry].shape
        if len(names) == len(shape):
            lengths += zip(names, shape, strict=True)
    known = solve(lengths, plain_sizes(sizes))
    converted = {}
    for entry, tensor in found.items():
        if entry in axes:
            before, after = axes[entry]
            own_sizes = {letter: size for letter, size in known.items() if letter in before or letter in after}
            tensor = rearrange(tensor, before, after, f"state_dict[{entry.key!r}]", **own_sizes)
        converted[entry.target] = tensor
    return converted


def _arrow(entry: Entry) -> tuple[str, str]:
    """The axis strings before and after the arrow."""
    before, _, after = entry.axes.partition("->")
    return before, after


def _source(name: str) -> Source:
    if name not in SOURCES:
        raise unknown("source", name, SOURCES)
    return SOURCES[name]


def _tensors(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state dict without wrappers, its tensors detached."""
    if not isinstance(state_dict, Mapping):
        raise TypeError(f"state_dict must be a mapping of tensors, got {type(state_dict).__name__}")
    for key, value in state_dict.items():
        if not isinstance(key, str) or not isinstance(value, Tensor):
            raise TypeError(
                f"state_dict must map names to tensors, but {key!r} is a {type(value).__name__}: is the state dict "
                "itself inside?"
            )
    own = {key: value.detach() for key, value in state_dict.items()}
    while wrapper := next((w for w in _WRAPPERS if own and all(key.startswith(w) for key in own)), None):
        own = {key.removeprefix(wrapper): value for key, value in own.items()}
    return own


def _inside(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """What stands under ``prefix``, without it."""
    if not prefix:
        return tensors
    prefix = prefix.removesuffix(".") + "."
    own = {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}
    if not own:
        raise ValueError(f"no key of state_dict begins with prefix {prefix!r}; its keys are {', '.join(tensors)}")
    return own


def _matched(
    entries: Sequence[Entry], own: Mapping[str, Tensor], source: str, drop: Sequence[str]
) -> dict[Entry, Tensor]:
    """The tensor of each entry that is there; an error that lists all keys that are missing and all left over."""
    keys = {entry: _keys(entry, own) for entry in entries}
    present = {entry.group for entry, names in keys.items() if any(name in own for name in names)} | {""}
    wanted = {entry: names for entry, names in keys.items() if entry.group in present}
    needed = [name for names in wanted.values() for name in names]
    missing = [name for name in needed if name not in own]
    extra = [key for key in own if key not in set(needed) and not any(fnmatchcase(key, pattern) for pattern in drop)]
    problems = [f"missing: {', '.join(missing)}"] if missing else []
    if extra:
        problems.append(f"with no place in it: {', '.join(extra)} (name them in drop to leave them out)")
    if problems:
        raise ValueError(f"the keys of state_dict are not those of {source!r}; {'; '.join(problems)}")
    return {entry: _stacked(entry, [own[name] for name in names]) for entry, names in wanted.items()}


def _keys(entry: Entry, own: Iterable[str]) -> list[str]:
    """Keys that an entry stands for: for ``*``, all numbers up to the highest that is there."""
    if "*" not in entry.key:
        return [entry.key]
    pattern = re.compile(re.escape(entry.key).replace(r"\*", r"(\d+)"))
    numbers = [int(match[1]) for match in map(pattern.fullmatch, own) if match]
    return [entry.key.replace("*", str(number)) for number in range(max(numbers, default=0) + 1)]


def _stacked(entry: Entry, tensors: Sequence[Tensor]) -> Tensor:
    if "*" not in entry.key:
        return tensors[0]
    if len({tensor.shape for tensor in tensors}) > 1:
        shapes = ", ".join(str(list(tensor.shape)) for tensor in tensors)
        raise ValueError(f"state_dict[{entry.key!r}] must all have one shape, got {shapes}")
    return torch.stack(list(tensors))
