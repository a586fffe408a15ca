"""The compiled core: addresses (``Tensor.data_ptr()``, 0 = none), sizes and options. See csrc/bindings.cpp."""

from collections.abc import Sequence
from typing import Any

class RoutingBackward:
    def __init__(
        self,
        grad_output: int,
        pre_squash: int,
        normaliser: int,
        grad_x: int,
        grad_weight: int,
        grad_votes: int,
        grad_bias: int,
        grad_logits: int,
        grad_input_weight: int,
    ) -> None: ...

class RoutingProblem:
    def __init__(
        self,
        sizes: Sequence[int],
        dtype: int,
        options: Sequence[int],
        values: Sequence[float],
        threads: int,
        device: int,
        stream: int,
        x: int,
        weight: int,
        votes: int,
        vote_strides: Sequence[int],
        bias: int,
        logits: int,
        logits_per_sample: bool,
        input_weight: int,
        input_mask: int,
        output_mask: int,
    ) -> None: ...
    def forward_workspace(self) -> int: ...
    def forward(self, output: int, pre_squash: int, normaliser: int, workspace: int, workspace_bytes: int) -> None: ...
    def backward_workspace(self, buffers: RoutingBackward) -> int: ...
    def backward(self, buffers: RoutingBackward, workspace: int, workspace_bytes: int) -> None: ...
    def agreement_workspace(self) -> int: ...
    def agreement(self, query: int, agreement: int, workspace: int, workspace_bytes: int) -> None: ...
    def forward_pass_workspace(self) -> int: ...
    def forward_pass(
        self, iteration: int, query: int, sum: int, normaliser: int, workspace: int, workspace_bytes: int
    ) -> None: ...
    def backward_pass_workspace(self) -> int: ...
    def backward_pass(
        self,
        iteration: int,
        query: int,
        slope: int,
        normaliser: int,
        mean: int,
        sum: int,
        workspace: int,
        workspace_bytes: int,
    ) -> None: ...
    def last_pass_workspace(self, gradients: RoutingBackward) -> int: ...
    def last_pass(
        self,
        query: int,
        slope: int,
        normaliser: int,
        mean: int,
        gradients: RoutingBackward,
        workspace: int,
        workspace_bytes: int,
    ) -> None: ...
    def query_update(self, iteration: int) -> tuple[float, float]: ...
    def describe(self) -> str: ...

def cuda_archs() -> list[int]: ...
def cuda_unusable(device: int) -> str: ...
def build_info() -> dict[str, Any]: ...
def cpu_isa() -> str: ...
def usable_cpu_isas() -> list[str]: ...
def choose_cpu_isa(name: str) -> None: ...
def cpu_votes() -> str: ...
def choose_cpu_votes(name: str) -> None: ...
def cpu_multiply_adds(rounds: int, threads: int, float64: bool) -> int: ...
