"""torch.compile, torch.export and what runs their programs."""

from __future__ import annotations

import functools
import subprocess
import sys
import tempfile
from pathlib import Path

import torch

from .columns import Case, Inputs
from .door import door, gradients, same

# What stops a compiler or needs another program stops it before it writes code, which takes a C++ compiler and seconds.
# "max-autotune" and AOTInductor write it.
BACKEND = "aot_eager"


@door("`torch.compile(fullgraph=True)`, forward and backward", quick=("MIND",))
def fullgraph(case: Case) -> None:
    torch._dynamo.reset()
    x = case.inputs(3)
    eager, compiled = case.module(*x), torch.compile(case.module, fullgraph=True, backend=BACKEND)(*x)
    same(compiled, eager)
    same(gradients(compiled, case), gradients(eager, case), rtol=1e-3)


# Height and width are symbols then too, through every convolution.
SLOW = "torch takes minutes; torch._dynamo.mark_dynamic(images, 0), which opens the batch alone, works within one"


@door(
    "`torch.compile(dynamic=True)`, another batch size without recompiling",
    quick=("dynamic_routing",),
    apart=dict.fromkeys(("SegCaps", "ResNetCapsules"), SLOW),
)
def dynamic(case: Case) -> None:
    torch._dynamo.reset()
    compiled = torch.compile(case.module, fullgraph=True, dynamic=True, backend=BACKEND)
    compiled(*case.inputs(7))  # no other size is 7, or torch would take the two for one
    with torch.compiler.set_stance("fail_on_recompile"):
        same(compiled(*case.inputs(5)), case.module(*case.inputs(5)))


@door('`torch.compile(mode="max-autotune")`', quick=())
def max_autotune(case: Case) -> None:
    torch._dynamo.reset()
    with torch.no_grad():
        same(torch.compile(case.module, mode="max-autotune")(*case.inputs(3)), case.module(*case.inputs(3)))


def exported(case: Case) -> torch.export.ExportedProgram:
    """The program of a module for any batch size."""
    x, batch = case.inputs(3), torch.export.Dim("batch")
    with torch.no_grad():
        return torch.export.export(case.module, x, dynamic_shapes=tuple({0: batch} for _ in x))


@door(
    "`torch.export`, any batch size",
    quick=("DeepCaps", "MIND"),
)
def export(case: Case) -> None:
    program = exported(case).module()
    for batch in (1, 5):
        same(program(*case.inputs(batch)), case.module(*case.inputs(batch)))


_LOADED = {
    "pt2": "torch.export.load(sys.argv[1]).module()",
    "aoti.pt2": "torch._inductor.aoti_load_package(sys.argv[1])",
}


def elsewhere(path: Path, x: Inputs) -> object:
    """What a process that knows nothing but the file, and imports capsroute.models, computes."""
    kind = path.name.partition(".")[2]
    given, result = path.with_name("inputs.pt"), path.with_name("outputs.pt")
    torch.save(x, given)
    program = (
        f"import sys, torch, capsroute.models\nprogram = {_LOADED[kind]}\n"
        "with torch.no_grad():\n    output = program(*torch.load(sys.argv[2]))\n"
        "torch.save(output if isinstance(output, torch.Tensor) else tuple(output), sys.argv[3])\n"
    )
    command = [sys.executable, "-c", program, path, given, result]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr.strip().splitlines()[-1]
    return torch.load(result)


@door("`torch.export.save`, loaded by another process", quick=())
def export_elsewhere(case: Case) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "program.pt2")
        torch.export.save(exported(case), path)
        same(elsewhere(path, case.inputs(5)), case.module(*case.inputs(5)))


@functools.cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    """Kept for two doors, because a package takes a C++ compiler."""
    return tempfile.TemporaryDirectory()


def _package(case: Case) -> Path:
    path = Path(_folder().name, case.name, "program.aoti.pt2")
    if not path.exists():
        path.parent.mkdir()
        torch._inductor.aoti_compile_and_package(exported(case), package_path=str(path))
    return path


@door("AOTInductor, the same process", quick=())
def aot_inductor(case: Case) -> None:
    program = torch._inductor.aoti_load_package(str(_package(case)))
    same(program(*case.inputs(5)), case.module(*case.inputs(5)))


@door("AOTInductor, another process", quick=())
def aot_inductor_elsewhere(case: Case) -> None:
    same(elsewhere(_package(case), case.inputs(5)), case.module(*case.inputs(5)))
