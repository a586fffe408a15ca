"""Floor 4: when a call may go past torch's dispatcher, straight to the compiled core."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch._C import DispatchKey, DispatchKeySet, _dispatch_keys, _dispatch_tls_local_include_set
from torch._C._autograd import _profiler_enabled
from torch.overrides import has_torch_function

# The kernels' own devices, and what lies above them in every ordinary call and does nothing for an op that has no rule
# for autograd or autocast.
_ORDINARY_KEYS = (
    DispatchKey.CPU,
    DispatchKey.CUDA,
    DispatchKey.BackendSelect,
    DispatchKey.ADInplaceOrView,
    DispatchKey.AutogradCPU,
    DispatchKey.AutogradCUDA,
    DispatchKey.AutocastCPU,
    DispatchKey.AutocastCUDA,
)

_ordinary = 0
for _key in _ORDINARY_KEYS:
    _ordinary |= DispatchKeySet(_key).raw_repr()
_EXTRAORDINARY = ~_ordinary


def is_needed(tensors: Sequence[Tensor | None]) -> bool:
    """Whether something must see the call as a registered op.

    The dispatcher costs as much as a small problem takes. So it is left out where all that it would do is to call our
    implementation, and the dispatcher itself says where that is: each tensor, and the thread, carries one key for
    everything that wants to come first. A key beyond the ordinary ones stands for a transform, a trace, a mode, a fake
    or wrapped tensor, or for values that are not in memory as they read (negated views, symbolic zeros); whatever torch
    adds there later counts too. Three things have no key: compilation, ``__torch_function__`` and the profiler.

    Args:
        tensors: All tensors of the call.

    Returns:
        True to call the op, False where calling its implementation comes to the same.
    """
    if torch.compiler.is_dynamo_compiling():  # first: it is a constant there, and the rest is never traced
        return True
    keys: int = _dispatch_tls_local_include_set().raw_repr()
    for tensor in tensors:
        if tensor is not None:
            keys |= _dispatch_keys(tensor).raw_repr()
    return keys & _EXTRAORDINARY != 0 or has_torch_function(tensors) or _profiler_enabled()


_is_exporting = getattr(torch.compiler, "is_exporting", lambda: False)  # torch before 2.7 has no way to ask


def is_written_down() -> bool:
    """Whether a trace or an export writes the call down, for others to run: it gets the op, which has gradients too."""
    return _is_exporting() or (not torch.compiler.is_compiling() and torch._C._is_tracing())


def is_readable(tensor: Tensor) -> bool:
    """Whether the values of a tensor can be looked at now, to check them: not on ``meta``, nor while it is traced."""
    if torch.compiler.is_compiling():
        return False
    keys: int = _dispatch_tls_local_include_set().raw_repr() | _dispatch_keys(tensor).raw_repr()
    return keys & _EXTRAORDINARY == 0
