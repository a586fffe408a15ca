"""Tracers and exporters: ONNX, TorchScript, torch.fx."""

from __future__ import annotations

import copy
import io
import pickle
import tempfile

import torch
import torch.fx

from .columns import COLUMNS, Answer, Case, tensors
from .door import door, same


def _as_onnxruntime_runs(case: Case, dynamo: bool) -> None:
    import onnxruntime

    onnxruntime.set_default_logger_severity(4)
    module, x = Answer(case.module), case.inputs(3)
    if dynamo:
        batch = torch.export.Dim("batch")
        dynamic = {"dynamic_shapes": (tuple({0: batch} for _ in x),)}
    else:
        given, made = [f"x{n}" for n in range(len(x))], [f"y{n}" for n in range(len(tensors(module(*x))))]
        names = {"input_names": given, "output_names": made}
        dynamic = {**names, "dynamic_axes": {name: {0: "batch"} for name in (*given, *made)}}
    with tempfile.NamedTemporaryFile(suffix=".onnx") as file, torch.no_grad():
        torch.onnx.export(module, x, file.name, dynamo=dynamo, external_data=False, verbose=False, **dynamic)
        session = onnxruntime.InferenceSession(file.name)
        for batch_size in (1, 5):
            x = case.inputs(batch_size)
            named = {entry.name: tensor.numpy() for entry, tensor in zip(session.get_inputs(), x, strict=True)}
            same([torch.from_numpy(array) for array in session.run(None, named)], module(*x))


@door("`torch.onnx.export`, run by onnxruntime", "onnxruntime", quick=("dynamic_routing", "MIND"))
def onnx(case: Case) -> None:
    _as_onnxruntime_runs(case, dynamo=True)


@door(
    "`torch.onnx.export(dynamo=False)`, run by onnxruntime", "onnxruntime", quick=("ConvCapsules2d", "CapsNet", "MIND")
)
def onnx_from_torchscript(case: Case) -> None:
    _as_onnxruntime_runs(case, dynamo=False)


def _traced(case: Case) -> None:
    module = Answer(case.module)
    file = io.BytesIO()
    torch.jit.save(torch.jit.trace(module, case.inputs(3)), file)
    file.seek(0)
    same(torch.jit.load(file)(*case.inputs(5)), module(*case.inputs(5)))


@door("`torch.jit.trace` with gradients on, saved and loaded", quick=("dynamic_routing", "CapsNet", "MIND"))
def jit_trace(case: Case) -> None:
    _traced(case)


@door("`torch.jit.trace` under `torch.no_grad()`, saved and loaded")
def jit_trace_no_grad(case: Case) -> None:
    with torch.no_grad():
        _traced(case)


@door("`torch.fx.symbolic_trace`")
def fx(case: Case) -> None:
    traced, x = torch.fx.symbolic_trace(case.module), case.inputs(5)
    again = torch.fx.symbolic_trace(copy.deepcopy(traced))
    for graph in (traced, again, pickle.loads(pickle.dumps(traced))):
        same(graph(*x), case.module(*x))


@door("features by `torch.fx`: the output of an inner node")
def fx_features(case: Case) -> None:
    traced = torch.fx.symbolic_trace(case.module)
    seen = {}

    class Recorder(torch.fx.Interpreter):
        def run_node(self, n: torch.fx.Node) -> object:
            seen[n] = super().run_node(n)
            return seen[n]

    x = case.inputs(3)
    Recorder(traced).run(*x)
    (output,) = (node for node in traced.graph.nodes if node.op == "output")
    inner = [node for node, value in seen.items() if node.op.startswith("call") and isinstance(value, torch.Tensor)]
    chosen = inner[len(inner) // 2]
    with traced.graph.inserting_before(output):
        traced.graph.output(chosen)
    traced.graph.erase_node(output)
    traced.graph.eliminate_dead_code()
    traced.recompile()
    same(traced(*x), seen[chosen])


_TRACED = "must be traced for TorchScript, by torch.jit.trace"


@door(
    "`torch.jit.script(torch.fx.symbolic_trace(…))`, as TorchEasyRec exports",
    refused=dict.fromkeys(COLUMNS, _TRACED),
)
def fx_script(case: Case) -> None:
    same(torch.jit.script(torch.fx.symbolic_trace(case.module))(*case.inputs(5)), case.module(*case.inputs(5)))
