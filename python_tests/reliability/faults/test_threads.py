"""Many threads of Python that call at once, and an import where no import works."""

from __future__ import annotations

import sys
import textwrap
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext

import pytest
import torch
from torch import Tensor

import capsroute
from capsroute import testing
from python_tests.kernels import cuda_backends

from .process import PRELUDE, said

_SIZES = [(1, 40, 8, 10, 16), (33, 30, 4, 5, 8), (7, 64, 16, 3, 5), (64, 12, 8, 10, 4)]


def _results(size: int, backend: str) -> list[Tensor]:
    batch, inputs, components, outputs, width = _SIZES[size]
    if backend == "cuda_emulated":
        batch, inputs = 2, 8
    generator = torch.Generator().manual_seed(size)
    x = torch.randn(batch, inputs, components, generator=generator).requires_grad_()
    weight = torch.randn(inputs, outputs, width, components, generator=generator).requires_grad_()
    with nullcontext() if backend == "automatic" else testing.backend(backend):
        output = capsroute.dynamic_routing(x, weight)
        return [output.detach(), *torch.autograd.grad(output.square().sum(), (x, weight))]


def test_threads_that_call_at_once_compute_what_one_computes():
    torch.set_num_threads(1)
    backends = ["automatic", "cpu", *(["cuda_emulated"] if "cuda_emulated" in cuda_backends() else [])]
    calls = [(size, backend) for size in range(len(_SIZES)) for backend in backends] * 4
    expected = {call: _results(*call) for call in set(calls)}

    def work(number: int) -> list[Tensor]:
        torch.set_num_threads(1 + number % 3)
        return _results(*calls[number])

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(work, range(len(calls)), timeout=120))
    for call, results in zip(calls, found, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(results, expected[call], strict=True)), call


def test_another_thread_goes_on_during_a_call(backend: str):
    """The interpreter's lock is not held: ticks come while one single call runs."""
    sizes = (1024, 1152) if backend == "cpu" else (4, 96)
    x, weight = torch.randn(sizes[0], sizes[1], 8), torch.randn(sizes[1], 10, 16, 8)
    ticks: list[float] = []
    stop = threading.Event()

    def tick() -> None:
        while not stop.is_set():
            ticks.append(time.perf_counter())
            time.sleep(0.001)

    thread = threading.Thread(target=tick)
    torch.set_num_threads(1)
    thread.start()
    try:
        began = time.perf_counter()
        capsroute.dynamic_routing(x, weight)
        ended = time.perf_counter()
    finally:
        stop.set()
        thread.join()
    assert sum(began < at < ended for at in ticks) >= 5


def test_a_subinterpreter_is_refused_by_a_sentence():
    old = sys.version_info < (3, 13)
    name = "_xxsubinterpreters" if old else "_interpreters"
    pytest.importorskip(name)
    program = f"""
        import {name} as subinterpreters
        other = subinterpreters.create({"" if old else "'legacy'"})
        try:
            told = str(subinterpreters.run_string(other, "import capsroute"))
        except subinterpreters.RunFailedError as error:
            told = str(error)
        print("cannot be imported in a subinterpreter of Python" in told, flush=True)
        os._exit(0)
    """
    assert said(program)[-1] == "True"


def test_import_in_a_thread_and_again():
    imported = """
        import importlib, threading
        thread = threading.Thread(target=importlib.import_module, args=("capsroute",))
        thread.start(), thread.join()
    """
    again = """
        for name in [name for name in sys.modules if name.partition(".")[0] == "capsroute"]:
            importlib.import_module(name)
        importlib.reload(capsroute)
        tensors = problem(2)
        assert torch.equal(capsroute.dynamic_routing(*tensors), forward(tensors))
        print("again")
    """
    assert said(again, prelude=textwrap.dedent(imported) + PRELUDE) == ["again"]
